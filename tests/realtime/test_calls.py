"""Asking one browser something from here, which is another process than its server's."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import Any

import pytest
import redis

import realtime
from realtime import CallTimeout, SessionBusy, SessionNotFound, call_user, notify_user
from realtime.domain.limits import MAX_CALLS, MAX_FRAME_BYTES
from tasks_app import api
from tasks_app.errors import StoreUnavailable
from tests.conftest import RedisServer, point_at
from tests.realtime.client import Client, dial
from tests.realtime.site import ROOT, Server, Site
from tests.support.eventually import eventually

Asking = asyncio.Task[Any]


async def session_of(client: Client) -> str:
    return str((await client.ask("user-join"))["data"]["session_id"])


def ask(session_id: str, *args: Any, **options: Any) -> Asking:
    return asyncio.create_task(call_user(session_id, *args, **options))


# --- works ---


async def test_the_answer_comes_back_to_whoever_asked(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        session_id = await session_of(client)
        for answer in ({"yes": [1, "ä", None]}, None, 0, "", [], "\ud800"):
            asking = ask(session_id, "confirm", {"question": "größer?"}, timeout=20)
            call = await client.next("call")
            assert (call["kind"], call["data"]) == ("confirm", {"question": "größer?"})
            assert call["timeout"] == 20
            reply = {"call_id": call["call_id"], "data": answer}
            answered = await client.ask("call:reply", reply)
            assert answered["data"] == {"call_id": call["call_id"]}
            assert await asking == answer
            assert await client.refusal("call:reply", reply) == "not_found"


async def test_many_calls_at_once_get_each_its_own_answer(
    site: Site, servers: dict[str, Server]
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(dial(server.url, site.account().bearer))
            for server in servers.values()
            for _ in range(3)
        ]
        sessions = [await session_of(client) for client in clients]
        asking = [ask(session, "add", number) for session in sessions for number in range(10)]
        for client in clients:
            calls = [await client.next("call") for _ in range(10)]
            for call in reversed(calls):
                await client.ask(
                    "call:reply", {"call_id": call["call_id"], "data": call["data"] + 1}
                )
        assert await asyncio.gather(*asking) == [
            number + 1 for _ in sessions for number in range(10)
        ]


async def test_a_notification_reaches_every_socket_of_the_user_and_no_other(
    site: Site, servers: dict[str, Server]
) -> None:
    mine, other = site.account(), site.account()
    async with (
        dial(servers["daphne"].url, mine.bearer) as first,
        dial(servers["uvicorn"].url, mine.cookie) as second,
        dial(servers["uvicorn"].url, other.bearer) as stranger,
    ):
        for client in (first, second, stranger):
            await client.ask("user-join")
        await notify_user(mine.id, "greeting", {"text": "größer", "n": [1]})
        await notify_user(int(mine.id), "second")
        for client in (first, second):
            told = {"kind": "greeting", "data": {"text": "größer", "n": [1]}}
            assert await client.next("notification") == told
            assert await client.next("notification") == {"kind": "second", "data": None}
        assert await stranger.is_alive()
        assert not stranger.frames
    await notify_user(mine.id, "nobody is there")


# --- refuses ---


async def test_only_the_asked_session_may_answer(site: Site, servers: dict[str, Server]) -> None:
    mine, other = site.account(), site.account()
    async with (
        dial(servers["daphne"].url, mine.bearer) as asked,
        dial(servers["daphne"].url, mine.bearer) as tab,
        dial(servers["uvicorn"].url, other.bearer) as stranger,
    ):
        for client in (tab, stranger):
            await session_of(client)
        asking = ask(await session_of(asked), "confirm")
        call = await asked.next("call")
        reply = {"call_id": call["call_id"], "data": "mine"}
        for client in (tab, stranger):
            forged = reply | {"session_id": await session_of(asked), "data": "forged"}
            assert await client.refusal("call:reply", forged) == "not_found"
            assert not client.frames
        await asked.ask("call:reply", reply)
        assert await asking == "mine"


async def test_an_answer_that_comes_too_late_is_refused(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        session_id = await session_of(client)
        with pytest.raises(TimeoutError) as late:
            await call_user(session_id, "confirm", timeout=0.3)
        assert isinstance(late.value, CallTimeout)
        call_id = (await client.next("call"))["call_id"]
        assert await client.refusal("call:reply", {"call_id": call_id}) == "not_found"


async def test_a_call_that_was_given_up_cannot_be_answered(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        asking = ask(await session_of(client), "confirm")
        call_id = (await client.next("call"))["call_id"]
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await client.refusal("call:reply", {"call_id": call_id}) == "not_found"


async def test_nobody_there_is_known_before_the_time_is_over(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        gone = await session_of(client)
    async with dial(server.url, site.account().bearer) as client:
        there = await session_of(client)

        for unknown in (gone, there[:-1] + "-", "nobody", "", "../x", "a" * 65, "a b\nc"):
            with pytest.raises(SessionNotFound):  # an hour would be longer than the test may take
                await call_user(unknown, "confirm", timeout=3600)
        assert not client.frames


async def test_a_session_that_ends_unanswered_is_told_at_once(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        asking = ask(await session_of(client), "confirm", timeout=3600)
        await client.next("call")
    with pytest.raises(SessionNotFound):
        await asking


async def test_questions_to_one_session_are_bounded(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        session_id = await session_of(client)
        asking = [ask(session_id, "confirm", number, timeout=60) for number in range(MAX_CALLS)]
        calls = [await client.next("call") for _ in range(MAX_CALLS)]
        with pytest.raises(SessionBusy):
            await call_user(session_id, "one more", timeout=3600)
        await client.ask("call:reply", {"call_id": calls[0]["call_id"], "data": "free"})
        assert "free" in [
            done.result() for done in (await asyncio.wait(asking, return_when="FIRST_COMPLETED"))[0]
        ]
        one_more = ask(session_id, "one more")
        call = await client.next("call")
        await client.ask("call:reply", {"call_id": call["call_id"], "data": 1})
        assert await one_more == 1
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


@pytest.mark.parametrize(
    ("kind", "data", "timeout"),
    [
        ("", None, 1), ("a" * 101, None, 1), ("a", object(), 1), ("a", float("nan"), 1),
        ("a", "x" * MAX_FRAME_BYTES, 1), ("a", None, 0), ("a", None, -1), ("a", None, float("nan")),
        ("a", None, float("inf")), ("a", None, 3601), ("a", None, "soon"),
    ],
)  # fmt: skip
async def test_what_cannot_be_sent_is_refused_here(
    engine: None,
    kind: str,
    data: Any,
    timeout: Any,  # noqa: ASYNC109 what is tried
) -> None:
    with pytest.raises((ValueError, TypeError)):
        await call_user("a" * 30, kind, data, timeout)
    if timeout == 1:
        with pytest.raises((ValueError, TypeError)):
            await notify_user("1", kind, data)


async def test_an_answer_that_json_cannot_carry_on_leaves_the_call_open(
    site: Site, server: Server
) -> None:
    async with dial(server.url, site.account().bearer) as client:
        asking = ask(await session_of(client), "confirm")
        call_id = (await client.next("call"))["call_id"]
        frame = (
            f'{{"type": "call:reply", "ack": 5, "data": {{"call_id": "{call_id}", "data": 1e999}}}}'
        )
        await client.connection.send(frame)
        refused = await client.wait_for(lambda frame: frame.get("ack") == 5)
        assert refused["data"]["code"] == "invalid"
        await client.ask("call:reply", {"call_id": call_id, "data": 5})
        assert await asking == 5


# --- what stays behind, and Redis away ---


async def test_no_key_of_a_call_stays_behind(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        session_id = await session_of(client)
        asking = ask(session_id, "confirm")
        call = await client.next("call")
        await client.ask("call:reply", {"call_id": call["call_id"]})
        await asking
        with pytest.raises(CallTimeout):
            await call_user(session_id, "confirm", timeout=0.05)
        with pytest.raises(SessionNotFound):
            await call_user("nobody", "confirm")

    async def nothing_left() -> bool:
        with contextlib.closing(redis.Redis.from_url(site.redis_url)) as there:
            return not there.keys(f"{site.prefix}:call:*")

    await eventually(nothing_left)


async def test_redis_away_is_said_by_both(
    own_redis: RedisServer, settings: Any, redis_prefix: str
) -> None:
    point_at(settings, own_redis.url, redis_prefix)
    own_redis.kill()
    with pytest.raises(StoreUnavailable):
        await call_user("a" * 30, "confirm")
    with pytest.raises(StoreUnavailable):
        await notify_user("1", "greeting")
    await api.shutdown()


async def test_a_gap_in_the_askers_subscription_loses_no_answer(
    whole_site: Site, own_redis: RedisServer, settings: Any
) -> None:
    site = Site(folder=whole_site.folder, redis_url=own_redis.url, accounts=whole_site.accounts)
    point_at(settings, site.redis_url, site.prefix)
    with site.serving("uvicorn") as server:
        async with dial(server.url, whole_site.account().bearer) as client:
            asking = ask(await session_of(client), "confirm", timeout=60)
            call = await client.next("call")
            with contextlib.closing(redis.Redis.from_url(own_redis.url)) as there:
                there.client_kill_filter(_type="pubsub")
                await client.ask("call:reply", {"call_id": call["call_id"], "data": "there"})
            assert await asking == "there"
    await api.shutdown()


def test_the_public_names() -> None:
    for name in realtime.__all__:
        assert getattr(realtime, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = realtime.no_such_name


def test_importing_them_needs_no_ready_app_registry() -> None:
    code = "from realtime import call_user, notify_user, CallTimeout"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
