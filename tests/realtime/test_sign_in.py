"""Signing in on `/ws/`: every way in, every way to be refused, on both servers."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.domain.limits import MAX_SOCKETS_BEFORE_SIGN_IN
from tasks_app import api
from tests import sample_tasks
from tests.realtime.client import dial
from tests.realtime.site import Account, Server, Site
from tests.support.eventually import eventually


def is_card_of(account: Account, frame: dict[str, object]) -> bool:
    data = frame["data"]
    assert isinstance(data, dict)
    assert set(data) == {"id", "name", "session_id"}
    return frame["type"] == "ack" and (data["id"], data["name"]) == (account.id, account.name)


async def test_signs_in_by_session_cookie(site: Site, server: Server) -> None:
    account = site.account()
    async with dial(server.url, account.cookie) as client:
        assert is_card_of(account, await client.ask("user-join"))
        assert is_card_of(account, await client.ask("user-join", {}))


async def test_signs_in_by_authorization_header(site: Site, server: Server) -> None:
    account = site.account()
    async with dial(server.url, account.bearer) as client:
        assert is_card_of(account, await client.ask("user-join"))


async def test_signs_in_by_subprotocol(site: Site, server: Server) -> None:
    account = site.account()
    protocols = ["signalbox", f"bearer.{account.token}"]
    async with dial(server.url, subprotocols=protocols) as client:
        assert client.connection.subprotocol == "signalbox"
        assert is_card_of(account, await client.ask("user-join"))


async def test_signs_in_by_first_frame(site: Site, server: Server) -> None:
    account = site.account()
    async with dial(server.url) as client:
        answer = await client.ask("user-join", {"auth": {"token": account.token}})
        assert is_card_of(account, answer)
        assert await client.is_alive()


async def test_each_connection_has_its_own_session_id(site: Site, server: Server) -> None:
    account = site.account()
    async with dial(server.url, account.bearer) as one, dial(server.url, account.bearer) as two:
        first, second = await one.ask("user-join"), await two.ask("user-join")
    assert first["data"]["session_id"] != second["data"]["session_id"]


async def test_takes_a_token_before_a_cookie(site: Site, server: Server) -> None:
    one, two = site.account(), site.account()
    async with dial(server.url, {**one.cookie, **two.bearer}) as client:
        assert is_card_of(two, await client.ask("user-join"))


async def test_an_outdated_cookie_leaves_the_first_frame_to_sign_in(
    site: Site, server: Server
) -> None:
    account = site.account()
    async with dial(server.url, {"Cookie": "sessionid=outdated"}) as client:
        answer = await client.ask("user-join", {"auth": {"token": account.token}})
        assert is_card_of(account, answer)


@pytest.mark.parametrize("token", ["wrong", "x" * 500, "\u00fc"])
async def test_refuses_a_bad_token_in_the_first_frame(server: Server, token: str) -> None:
    async with dial(server.url) as client:
        assert await client.refusal("user-join", {"auth": {"token": token}}) == "not_signed_in"
        assert await client.close_code() == 4401


async def test_refuses_a_first_frame_without_a_token(server: Server) -> None:
    async with dial(server.url) as client:
        assert await client.refusal("user-join") == "not_signed_in"
        assert await client.close_code() == 4401


async def test_refuses_a_bad_header_after_accepting(server: Server) -> None:
    async with dial(server.url, {"Authorization": "Bearer wrong"}) as client:
        assert await client.close_code() == 4401


async def test_refuses_a_bad_subprotocol_after_accepting(server: Server) -> None:
    async with dial(server.url, subprotocols=["signalbox", "bearer.wrong"]) as client:
        assert client.connection.subprotocol == "signalbox"
        assert await client.close_code() == 4401


async def test_refuses_an_inactive_user_and_an_expired_token(site: Site, server: Server) -> None:
    inactive, expired = site.account(), site.account()
    site.sql("UPDATE auth_user SET is_active = 0 WHERE id = ?", inactive.id)
    site.sql(
        "UPDATE tasks_app_apitoken SET expires_at = '2020-01-01 00:00:00' WHERE user_id = ?",
        expired.id,
    )
    for account in (inactive, expired):
        async with dial(server.url, account.bearer) as client:
            assert await client.close_code() == 4401
    async with dial(server.url, inactive.cookie) as client:
        assert await client.refusal("user-join") == "not_signed_in"
        assert await client.close_code() == 4401


async def test_another_users_token_is_a_conflict_and_changes_nothing(
    site: Site, server: Server
) -> None:
    mine, other = site.account(), site.account()
    async with dial(server.url, mine.bearer) as client:
        code = await client.refusal("user-join", {"auth": {"token": other.token}})
        assert code == "conflict"
        code = await client.refusal("user-join", {"auth": {"token": "wrong"}})
        assert code == "not_signed_in"
        again = await client.ask("user-join", {"auth": {"token": mine.token}})
        assert is_card_of(mine, again)


async def test_a_forged_user_id_in_the_payload_is_ignored(site: Site, server: Server) -> None:
    mine, other = site.account(), site.account()
    async with dial(server.url, mine.bearer) as client:
        answer = await client.ask("user-join", {"user_id": other.id, "id": other.id})
        assert is_card_of(mine, answer)


async def test_a_token_in_the_wrong_place_signs_nobody_in(site: Site, server: Server) -> None:
    token = site.account().token
    elsewhere: list[tuple[str, dict[str, object]]] = [
        (f"{server.url}?token={token}", {}),
        (server.url, {"headers": {"Cookie": f"sessionid={token}"}}),
        (server.url, {"headers": {"Authorization": token}}),
        (server.url, {"headers": {"X-Token": token}}),
        (server.url, {"subprotocols": ["signalbox", token]}),
    ]
    for url, options in elsewhere:
        async with dial(url, **options) as client:
            assert await client.refusal("heartbeat") == "not_signed_in", options
    async with dial(server.url) as client:
        for data in ({"auth": token}, {"auth": {"Authorization": token}}):
            assert await client.refusal("user-join", data) == "invalid", data
        assert await client.refusal("user-join", {"token": token}) == "not_signed_in"
        assert await client.close_code() == 4401


async def test_sockets_per_user_are_bounded(whole_site: Site) -> None:
    tight = {"DJANGO_SETTINGS_MODULE": "tests.realtime.tight_settings"}
    site = Site(folder=whole_site.folder, redis_url=whole_site.redis_url, more=tight)
    mine, other = whole_site.account(), whole_site.account()
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(site.serving("daphne"))
        held = [await stack.enter_async_context(dial(server.url, mine.bearer)) for _ in range(3)]
        assert all([await client.is_alive() for client in held])
        for _ in range(2):
            async with dial(server.url, mine.bearer) as one_too_many:
                assert await one_too_many.close_code() == 1013
            async with dial(server.url) as one_too_many:
                data = {"auth": {"token": mine.token}}
                assert await one_too_many.refusal("user-join", data) == "rate_limited"
                assert await one_too_many.close_code() == 1013
        async with dial(server.url, other.bearer) as neighbour:
            assert await neighbour.is_alive()
        await held[0].connection.close()

        async def is_let_in() -> bool:
            async with dial(server.url, mine.bearer) as next_in_line:
                with contextlib.suppress(ConnectionClosed):
                    return await next_in_line.is_alive()
            return False

        await eventually(is_let_in)
        assert await held[1].is_alive()


async def test_closes_4408_when_nobody_signs_in(servers: dict[str, Server], site: Site) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(dial(s.url)) for s in servers.values()]
        # Refused frames do not count as signing in.
        codes = [await client.refusal("heartbeat") for client in clients]
        assert set(codes) == {"not_signed_in"}
        closed = await asyncio.gather(*(client.close_code(within=20) for client in clients))
    assert set(closed) == {4408}


async def test_before_sign_in_only_user_join_is_answered(site: Site, server: Server) -> None:
    account = site.account()
    async with dial(server.url) as client:
        for kind in ("task:subscribe", "task:stop", "heartbeat"):
            assert await client.refusal(kind, {"task_id": "a"}) == "not_signed_in"
        assert await client.refusal("nonsense") == "unknown_type"
        answer = await client.ask("user-join", {"auth": {"token": account.token}})
        assert is_card_of(account, answer)


async def test_before_sign_in_a_frame_is_at_most_16_kib(site: Site, server: Server) -> None:
    async with dial(server.url) as client:
        await client.connection.send(json.dumps({"type": "x" * 16_384}))
        assert await client.close_code() == 1009


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1.evil.example",
        "http://notboard.example",
        "http://trusted.example",
        "null",
        "file://",
    ],
)
async def test_refuses_a_foreign_origin_with_403(site: Site, server: Server, origin: str) -> None:
    headers = {**site.superuser.cookie, "Origin": origin}
    with pytest.raises(InvalidStatus) as refused:
        async with dial(server.url, headers):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("origin", ["http://[", "http://127.0.0.1:port"])
async def test_refuses_an_origin_that_is_none(site: Site, server: Server, origin: str) -> None:
    headers = {**site.superuser.cookie, "Origin": origin}
    with pytest.raises(InvalidStatus) as refused:
        async with dial(server.url, headers):
            pass
    # daphne reads the header itself and calls it a bad request.
    assert refused.value.response.status_code in {400, 403}


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:{port}",
        "http://localhost:{port}",
        "https://board.example",
        "https://trusted.example",
        "https://a.family.example",
    ],
)
async def test_accepts_its_own_and_trusted_origins(site: Site, server: Server, origin: str) -> None:
    headers = {**site.superuser.cookie, "Origin": origin.format(port=server.port)}
    async with dial(server.url, headers) as client:
        assert is_card_of(site.superuser, await client.ask("user-join"))


async def test_an_unknown_address_is_closed_with_4404(server: Server) -> None:
    async with dial(server.url + "nothing/here") as client:
        assert await client.close_code() == 4404


async def test_sockets_before_sign_in_are_bounded(site: Site, server: Server) -> None:
    account = site.account()
    async with contextlib.AsyncExitStack() as stack:
        waiting = [
            await stack.enter_async_context(dial(server.url))
            for _ in range(MAX_SOCKETS_BEFORE_SIGN_IN)
        ]
        async with dial(server.url) as one_too_many:
            assert await one_too_many.close_code() == 1013
        # Who brings credentials along does not wait in that line.
        async with dial(server.url, account.bearer) as client:
            assert await client.is_alive()
        await waiting[0].connection.close()
        async with dial(server.url) as next_in_line:
            answer = await next_in_line.ask("user-join", {"auth": {"token": account.token}})
            assert is_card_of(account, answer)


async def test_revocation_through_django_closes_long_before_the_next_look(
    servers: dict[str, Server], site: Site
) -> None:
    """On every instance; the looks are 15 s apart, and the first is 15 s after the first socket."""
    deactivated, revoked, logged_out, kept = (site.account() for _ in range(4))
    async with contextlib.AsyncExitStack() as stack:
        doomed, safe = [], []
        for server in servers.values():
            doomed += [
                await stack.enter_async_context(dial(server.url, headers))
                for headers in (deactivated.bearer, revoked.bearer, logged_out.cookie)
            ]
            safe.append(await stack.enter_async_context(dial(server.url, kept.bearer)))
        for client in (*doomed, *safe):
            assert await client.is_alive()
        change = f"""
user = User.objects.get(pk={deactivated.id})
user.is_active = False
user.save()
ApiToken.objects.filter(user_id={revoked.id}).first().delete()
SessionStore({logged_out.session_key!r}).flush()
"""
        await asyncio.to_thread(site.django, change)
        codes = await asyncio.gather(*(client.close_code(within=5) for client in doomed))
        assert set(codes) == {4401}
        assert all([await client.is_alive() for client in safe])


async def test_a_lost_permission_ends_the_subscriptions_it_allowed(
    server: Server, site: Site
) -> None:
    mine = site.account()
    task = await api.enqueue_task(sample_tasks.wait_for_stop, ask=api.Ask(user_id="nobody"))
    permission = "Permission.objects.get(codename='view_task')"
    head = f"""
from django.contrib.auth.models import Permission
user = User.objects.get(pk={mine.id})
user.is_staff = True
user.save()
user.user_permissions"""
    await asyncio.to_thread(site.django, f"{head}.add({permission})")
    async with dial(server.url, mine.bearer) as client:
        assert (await client.ask("task:subscribe", {"task_id": task.id}))["type"] == "ack"
        await asyncio.to_thread(site.django, f"{head}.remove({permission})")
        ended = await client.wait_for(lambda frame: frame["type"] == "error", within=5)
        assert ended["data"]["code"] == "not_found"
        assert await client.is_alive()
    await api.stop_task(task.id, by="system")


async def test_revocation_closes_within_30_seconds(servers: dict[str, Server], site: Site) -> None:
    deactivated, revoked, logged_out, kept = (site.account() for _ in range(4))
    async with contextlib.AsyncExitStack() as stack:
        doomed, safe = [], []
        for server in servers.values():
            doomed += [
                await stack.enter_async_context(dial(server.url, headers))
                for headers in (deactivated.bearer, revoked.bearer, logged_out.cookie)
            ]
            safe.append(await stack.enter_async_context(dial(server.url, kept.bearer)))
        site.sql("UPDATE auth_user SET is_active = 0 WHERE id = ?", deactivated.id)
        site.sql("DELETE FROM tasks_app_apitoken WHERE user_id = ?", revoked.id)
        site.sql("DELETE FROM django_session WHERE session_key = ?", logged_out.session_key)
        codes = await asyncio.gather(*(client.close_code(within=30) for client in doomed))
        assert set(codes) == {4401}
        assert all([await client.is_alive() for client in safe])
