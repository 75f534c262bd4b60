"""Named rooms over `/ws/`: who gets in, what they send each other, and who is there."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from realtime.domain.limits import CONFIGURABLE
from realtime.store import client, keys
from realtime.store.scripts import Call
from tasks_app import api
from tests.conftest import RedisServer, point_at
from tests.realtime.client import Client, Frame, dial
from tests.realtime.site import Account, Server, Site
from tests.support.eventually import eventually

MAX_ROOMS = CONFIGURABLE["rooms"]


def room_of(*accounts: Account) -> str:
    """Name a room that no other test uses."""
    return "public:" + ".".join(account.id for account in accounts)


async def present(client: Client, room: str, count: int) -> Frame:
    """Wait until so many users are told to be in the room."""
    frame = await client.wait_for(
        lambda frame: (
            frame["type"] == "room:presence"
            and frame["data"]["room"] == room
            and frame["data"]["count"] == count
        )
    )
    data: Frame = frame["data"]
    return data


def cards(*accounts: Account) -> list[Frame]:
    return sorted(({"id": a.id, "name": a.name} for a in accounts), key=lambda card: card["name"])


def never_told(client: Client, *kinds: str) -> bool:
    return not any(frame["type"] in kinds for frame in client.frames)


# --- events ---


async def test_an_event_reaches_all_in_the_room_on_every_server_and_nobody_else(
    site: Site, servers: dict[str, Server]
) -> None:
    ada, ben, eve = site.account(), site.account(), site.account()
    room, other = room_of(ada, ben), room_of(eve)
    async with (
        dial(servers["daphne"].url, ada.bearer) as first,
        dial(servers["uvicorn"].url, ben.bearer) as second,
        dial(servers["uvicorn"].url, eve.bearer) as stranger,
    ):
        for member in (first, second):
            assert (await member.ask("room:join", {"room": room}))["data"] == {"room": room}
        await stranger.ask("room:join", {"room": other})
        forged = {"from": {"id": eve.id, "name": "root"}, "user_id": eve.id}
        sent = {"room": room, "event": "typing", "data": {"text": "größer", "deep": [[None, 1.5]]}}
        assert (await first.ask("room:send", sent | forged))["type"] == "ack"
        for member in (first, second):
            assert await member.next("room:event") == {
                "room": room,
                "from": {"id": ada.id, "name": ada.name},
                "event": "typing",
                "data": sent["data"],
            }
        assert await stranger.is_alive()
        assert never_told(stranger, "room:event")


async def test_events_of_one_sender_keep_their_order(site: Site, server: Server) -> None:
    ada, ben = site.account(), site.account()
    room = room_of(ada)
    async with dial(server.url, ada.bearer) as first, dial(server.url, ben.bearer) as second:
        for member in (first, second):
            await member.ask("room:join", {"room": room})
        for number in range(100):
            await first.send("room:send", {"room": room, "event": "n", "data": number})
        got = [(await second.next("room:event"))["data"] for _ in range(100)]
        assert got == list(range(100))


async def test_the_answer_to_joining_comes_before_anything_of_the_room(
    site: Site, server: Server
) -> None:
    ada, ben = site.account(), site.account()
    room = room_of(ada)
    async with dial(server.url, ada.bearer) as busy, dial(server.url, ben.bearer) as client:
        await busy.ask("room:join", {"room": room})
        for _ in range(20):
            await client.ask("room:leave", {"room": room})
            await client.ask("heartbeat")
            client.frames.clear()
            await busy.send("room:send", {"room": room, "event": "x"})
            await client.send("room:join", {"room": room}, ack=77)
            first = await client.wait_for(lambda _: True)
            assert first["type"] == "ack"
            assert first["ack"] == 77


async def test_who_left_hears_and_sends_nothing_more(site: Site, server: Server) -> None:
    ada, ben = site.account(), site.account()
    room = room_of(ada)
    event = {"room": room, "event": "x"}
    async with dial(server.url, ada.bearer) as first, dial(server.url, ben.bearer) as second:
        for member in (first, second):
            await member.ask("room:join", {"room": room})
        assert (await second.ask("room:leave", {"room": room}))["type"] == "ack"
        assert await second.refusal("room:send", event) == "forbidden"
        await present(first, room, 1)
        second.frames.clear()
        await first.ask("room:send", event)
        await first.next("room:event")
        assert await second.is_alive()
        assert never_told(second, "room:event", "room:presence")
        assert (await second.ask("room:leave", {"room": room}))["type"] == "ack"
        await second.ask("room:join", {"room": room})
        await first.ask("room:send", event)
        await second.next("room:event")


async def test_what_json_cannot_carry_on_is_refused(site: Site, server: Server) -> None:
    ada = site.account()
    room = room_of(ada)
    async with dial(server.url, ada.bearer) as client:
        await client.ask("room:join", {"room": room})
        head = (
            f'{{"type": "room:send", "ack": 9, "data": {{"room": "{room}", "event": "x", "data": '
        )
        await client.connection.send(head + "1e999}}")
        refused = await client.wait_for(lambda frame: frame.get("ack") == 9)
        assert refused["data"]["code"] == "invalid"
        await client.connection.send(head + '"\\ud800"}}')
        assert (await client.wait_for(lambda frame: frame.get("ack") == 9))["type"] == "ack"
        assert (await client.next("room:event"))["data"] == "\ud800"


# --- who may ---


async def test_by_default_only_public_rooms_let_in(site: Site, server: Server) -> None:
    mine = site.account()
    async with (
        dial(server.url, mine.bearer) as client,
        dial(server.url, site.superuser.bearer) as root,
    ):
        for room in ("private:a", "public", "a", "Public:a", f"user:{mine.id}", "..", ":"):
            for member in (client, root):
                assert await member.refusal("room:join", {"room": room}) == "forbidden"
                event = {"room": room, "event": "x"}
                assert await member.refusal("room:send", event) == "forbidden"
        assert (await client.ask("room:join", {"room": "public:"}))["type"] == "ack"


async def test_rooms_per_socket_are_bounded(site: Site, server: Server) -> None:
    mine = site.account()
    async with dial(server.url, mine.bearer) as client:
        rooms = [f"{room_of(mine)}.{number}" for number in range(MAX_ROOMS + 1)]
        for room in rooms[:-1]:
            assert (await client.ask("room:join", {"room": room}))["type"] == "ack"
        assert await client.refusal("room:join", {"room": rooms[-1]}) == "rate_limited"
        assert (await client.ask("room:join", {"room": rooms[0]}))["type"] == "ack"
        await client.ask("room:leave", {"room": rooms[0]})
        assert (await client.ask("room:join", {"room": rooms[-1]}))["type"] == "ack"


@pytest.fixture(scope="module")
def club(whole_site: Site) -> Iterator[tuple[Site, Server]]:
    """Serve the same users under a project with an access function of its own."""
    site = Site(
        folder=whole_site.folder,
        redis_url=whole_site.redis_url,
        accounts=whole_site.accounts,
        more={"DJANGO_SETTINGS_MODULE": "tests.realtime.club_settings"},
    )
    with site.serving("uvicorn") as server:
        yield site, server
    with contextlib.closing(redis.Redis.from_url(site.redis_url)) as there:
        if left := there.keys(f"{site.prefix}:*"):
            there.delete(*left)


async def test_the_projects_function_decides_at_every_action(
    site: Site, club: tuple[Site, Server]
) -> None:
    mine = site.account()
    _, server = club
    async with dial(server.url, mine.bearer) as client:
        for room in ("public:a", "club:a", "own:1x", "wrong:a"):
            assert await client.refusal("room:join", {"room": room}) == "forbidden"
        assert (await client.ask("room:join", {"room": f"own:{mine.id}"}))["type"] == "ack"
        site.sql("UPDATE auth_user SET is_staff = 1 WHERE id = ?", mine.id)
        assert (await client.ask("room:join", {"room": "club:a"}))["type"] == "ack"
        event = {"room": "club:a", "event": "x"}
        assert (await client.ask("room:send", event))["type"] == "ack"
        site.sql("UPDATE auth_user SET is_staff = 0 WHERE id = ?", mine.id)
        assert await client.refusal("room:send", event) == "forbidden"
        assert await client.is_alive()
    assert "the function's own trouble" in server.log.read_text()


async def test_who_loses_access_is_taken_out_of_the_room(
    site: Site, club: tuple[Site, Server]
) -> None:
    mine = site.account()
    _, server = club
    site.sql("UPDATE auth_user SET is_staff = 1 WHERE id = ?", mine.id)
    async with dial(server.url, mine.bearer) as client:
        for room in ("club:b", f"own:{mine.id}"):
            await client.ask("room:join", {"room": room})
        site.sql("UPDATE auth_user SET is_staff = 0 WHERE id = ?", mine.id)
        told = await client.wait_for(lambda frame: frame["type"] == "error", within=30)
        assert (told["data"]["code"], told["data"]["room"]) == ("forbidden", "club:b")
        site.sql("UPDATE auth_user SET is_staff = 1 WHERE id = ?", mine.id)
        assert await client.refusal("room:send", {"room": "club:b", "event": "x"}) == "forbidden"
        own = {"room": f"own:{mine.id}", "event": "x"}
        assert (await client.ask("room:send", own))["type"] == "ack"


async def test_a_deactivated_user_is_closed_at_the_next_action(site: Site, server: Server) -> None:
    mine = site.account()
    async with dial(server.url, mine.bearer) as client:
        site.sql("UPDATE auth_user SET is_active = 0 WHERE id = ?", mine.id)
        assert await client.refusal("room:join", {"room": room_of(mine)}) == "not_signed_in"
        assert await client.close_code() == 4401


# --- presence ---


async def test_presence_counts_users_across_servers_and_sockets(
    site: Site, servers: dict[str, Server]
) -> None:
    ada, ben = site.account(), site.account()
    room = room_of(ada, ben)
    async with dial(servers["daphne"].url, ada.bearer) as first:
        await first.ask("room:join", {"room": room})
        assert await present(first, room, 1) == {"room": room, "count": 1, "users": cards(ada)}
        async with (
            dial(servers["uvicorn"].url, ada.bearer) as again,
            dial(servers["uvicorn"].url, ben.bearer) as second,
        ):
            await again.ask("room:join", {"room": room})
            assert (await present(again, room, 1))["users"] == cards(ada)
            await second.ask("room:join", {"room": room})
            for client in (first, again, second):
                assert (await present(client, room, 2))["users"] == cards(ada, ben)
            await again.ask("room:leave", {"room": room})
        assert (await present(first, room, 1))["users"] == cards(ada)


async def test_every_joiner_is_told_also_when_nothing_changed(site: Site, server: Server) -> None:
    mine = site.account()
    room = room_of(mine)
    async with dial(server.url, mine.bearer) as first:
        await first.ask("room:join", {"room": room})
        await present(first, room, 1)
        for _ in range(3):
            async with dial(server.url, mine.bearer) as tab:
                await tab.ask("room:join", {"room": room})
                await present(tab, room, 1)
        assert await first.is_alive()
        assert never_told(first, "room:presence")


async def test_changes_in_quick_succession_are_told_together(site: Site, server: Server) -> None:
    accounts = [site.account() for _ in range(12)]
    room = room_of(accounts[0])
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(dial(server.url, accounts[0].bearer))
        await first.ask("room:join", {"room": room})
        clients = [
            await stack.enter_async_context(dial(server.url, account.bearer))
            for account in accounts[1:]
        ]
        await asyncio.gather(*(client.ask("room:join", {"room": room}) for client in clients))
        await present(first, room, 12)
        told = [frame for frame in first.frames if frame["type"] == "room:presence"]
        assert len(told) < 11


async def test_the_keys_of_a_room_leave_with_its_last_member(site: Site, server: Server) -> None:
    mine = site.account()
    room = room_of(mine)
    async with dial(server.url, mine.bearer) as client:
        await client.ask("room:join", {"room": room})
        assert await exists(room)

    async def is_gone() -> bool:
        return not await exists(room)

    await eventually(is_gone)


async def exists(room: str) -> bool:
    there = await client.arun(Call(int, ("EXISTS", keys.presence(room))))
    return there > 0


async def test_who_was_on_a_killed_process_is_gone_after_a_while(
    site: Site, servers: dict[str, Server]
) -> None:
    ada, ben = site.account(), site.account()
    room = room_of(ada, ben)
    async with dial(servers["daphne"].url, ada.bearer) as first:
        await first.ask("room:join", {"room": room})
        with site.serving("uvicorn") as dying:
            async with dial(dying.url, ben.bearer) as second:
                await second.ask("room:join", {"room": room})
                await present(first, room, 2)
                dying.process.kill()
        # Nobody says so: it is the silence that is noticed. We make it long.
        script = (
            "for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do "
            f"if string.find(m, '{ben.id}%z') == 1 then redis.call('ZADD', KEYS[1], 1, m) end end"
        )
        await client.arun(Call(lambda reply: reply, ("EVAL", script, 1, keys.presence(room))))
        gone = await first.wait_for(
            lambda frame: frame["type"] == "room:presence" and frame["data"]["count"] == 1,
            within=30,
        )
        assert gone["data"]["users"] == cards(ada)


# --- Redis away ---


@pytest.fixture
async def own_site(whole_site: Site, own_redis: RedisServer, settings: Any) -> AsyncIterator[Site]:
    site = Site(folder=whole_site.folder, redis_url=own_redis.url, accounts=whole_site.accounts)
    point_at(settings, site.redis_url, site.prefix)
    yield site
    await api.shutdown()


async def test_rooms_come_back_with_redis(
    whole_site: Site, own_site: Site, own_redis: RedisServer
) -> None:
    ada, ben, eve = (whole_site.account() for _ in range(3))
    room = room_of(ada)
    with own_site.serving("daphne") as server:
        async with dial(server.url, ada.bearer) as first, dial(server.url, ben.bearer) as second:
            for member in (first, second):
                await member.ask("room:join", {"room": room})
            await present(first, room, 2)
            own_redis.kill()
            event = {"room": room, "event": "x"}
            assert await first.refusal("room:send", event) == "unavailable"
            assert await first.refusal("room:join", {"room": room_of(ben)}) == "unavailable"
            shutil.rmtree(own_redis.folder / "appendonlydir", ignore_errors=True)
            (own_redis.folder / "appendonly.aof").unlink(missing_ok=True)
            own_redis.start()  # and knows nothing any more

            async def sent() -> bool:
                return (await first.ask("room:send", event))["type"] == "ack"

            await eventually(sent, within=20, every=0.3)

            async def heard() -> bool:
                await first.ask("room:send", event)
                await second.ask("heartbeat")
                return not never_told(second, "room:event")

            await eventually(heard, within=20, every=0.3)
            async with dial(server.url, eve.bearer) as third:
                await third.ask("room:join", {"room": room})
                for member in (first, third):
                    assert (await present(member, room, 3))["users"] == cards(ada, ben, eve)
            first.frames.clear()
            await present(first, room, 2)
