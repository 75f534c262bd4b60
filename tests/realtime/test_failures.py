"""Slow readers, dying processes and an absent Redis, as a client of `/ws/` sees them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from realtime.services import pools
from tasks_app import api
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import RedisServer, point_at, running
from tests.realtime import samples
from tests.realtime.client import Client, Frame, dial
from tests.realtime.conftest import SERVERS
from tests.realtime.site import Account, Server, Site
from tests.support.eventually import eventually

WORDS = [f"word{number} " for number in range(300)]


def is_held(server: Server, client_port: int) -> bool:
    """Answer whether the server still has its end of a client's TCP connection."""
    ends = f":{server.port:04X} 0100007F:{client_port:04X} 01 "
    return ends in Path("/proc/net/tcp").read_text()


async def start(account: Account, sample: Any, *args: Any) -> str:
    return (await api.enqueue_task(sample, args=args, ask=api.Ask(user_id=account.id))).id


async def read_on(client: Client, events: list[Frame]) -> None:
    """Collect a task's events up to its end or the end of the connection."""
    with contextlib.suppress(ConnectionClosed):
        while not events or events[-1]["type"] != "end":
            events.append(await client.next("task:event"))


def text_of(events: list[Frame]) -> str:
    return "".join(event["data"]["text"] for event in events if event["type"] == "token")


@pytest.fixture
async def worker(site: Site) -> AsyncIterator[Worker]:
    async with running(Worker(name="test", grace=0.2)) as started:
        yield started


async def test_a_slow_reader_is_dropped_and_resumes_where_it_was(
    site: Site, server: Server, worker: Worker
) -> None:
    mine = site.account()
    # Together far more than the kernel buffers of one connection.
    task_ids = [await start(mine, samples.pour, 100, 50_000) for _ in range(3)]
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", server.port))
    narrow.setblocking(False)
    async with dial(server.url, mine.bearer, sock=narrow, max_queue=1, compression=None) as slow:
        for task_id in task_ids:
            await slow.send("task:subscribe", {"task_id": task_id})
        async with dial(server.url, mine.bearer) as quick:
            await quick.ask("task:subscribe", {"task_id": task_ids[0]})
            events: list[Frame] = []
            await read_on(quick, events)
            assert len(text_of(events)) == 100 * 50_000

        async def dropped() -> bool:
            return not is_held(server, narrow.getsockname()[1])

        await eventually(dropped, within=20, every=0.1)
        code = await slow.close_code()
        # Who does not read cannot read the code either; one that begins to again may.
        assert code in {None, 1013}
    got = [f["data"] for f in slow.frames if f["type"] == "task:event"]
    mine_so_far = [event for event in got if event["task_id"] == task_ids[0]]
    assert not any(event["type"] == "end" for event in mine_so_far)
    async with dial(server.url, mine.bearer) as client:
        last = mine_so_far[-1]["id"] if mine_so_far else None
        await client.ask("task:subscribe", {"task_id": task_ids[0], "last_event_id": last})
        await read_on(client, mine_so_far)
    assert mine_so_far == events


PINGS = {
    "daphne": ("--ping-interval", "1", "--ping-timeout", "2"),
    "uvicorn": ("--ws-ping-interval", "1", "--ws-ping-timeout", "2"),
}


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_peer_that_answers_no_ping_is_dropped_and_its_session_ends(
    site: Site, kind: str
) -> None:
    """As one whose machine lost power, or its network."""
    mine, other = site.account(), site.account()
    with site.serving(kind, *PINGS[kind]) as server, socket.socket() as mute:
        async with dial(server.url, other.bearer) as neighbour:
            await asyncio.to_thread(mute.connect, ("127.0.0.1", server.port))
            mute.sendall(
                "\r\n".join(
                    [
                        "GET /ws/ HTTP/1.1", f"Host: 127.0.0.1:{server.port}",
                        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                        f"Authorization: Bearer {mine.token}", "", "",
                    ]
                ).encode()
            )  # fmt: skip
            assert b"101" in await asyncio.to_thread(mute.recv, 100)

            async def is_known() -> bool:
                return mine.id in await users_in_pool()

            async def is_forgotten() -> bool:
                return mine.id not in await users_in_pool()

            await eventually(is_known)
            await eventually(is_forgotten, within=30, every=0.1)
            assert not is_held(server, mute.getsockname()[1])
            assert other.id in await users_in_pool()
            assert await neighbour.is_alive()


async def users_in_pool() -> set[str]:
    _, found = await asyncio.to_thread(pools.sessions_sync, 0, 1000)
    return {session.card.user_id for session in found}


async def test_sigterm_says_1012_and_the_next_process_goes_on(
    site: Site, worker: Worker, servers: dict[str, Server]
) -> None:
    mine = site.account()
    for kind in SERVERS:
        task_id = await start(mine, sample_tasks.talk, WORDS, 0.01)
        events: list[Frame] = []
        with site.serving(kind) as going:
            async with dial(going.url, mine.bearer) as client:
                await client.ask("task:subscribe", {"task_id": task_id})
                events.append(await client.next("task:event"))
                going.process.send_signal(signal.SIGTERM)
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        events.append(await client.next("task:event"))
                assert client.connection.close_code == 1012
            await asyncio.to_thread(going.process.wait, 15)
        async with dial(servers[kind].url, mine.bearer) as client:
            data = {"task_id": task_id, "last_event_id": events[-1]["id"]}
            await client.ask("task:subscribe", data)
            await read_on(client, events)
        assert text_of(events) == "".join(WORDS)


async def test_a_killed_process_loses_no_event(
    site: Site, worker: Worker, servers: dict[str, Server]
) -> None:
    mine = site.account()
    task_id = await start(mine, sample_tasks.talk, WORDS, 0.01)
    events: list[Frame] = []
    with site.serving("daphne") as going:
        async with dial(going.url, mine.bearer) as client:
            await client.ask("task:subscribe", {"task_id": task_id})
            events.append(await client.next("task:event"))
            going.process.kill()
            with contextlib.suppress(ConnectionClosed):
                while True:
                    events.append(await client.next("task:event"))
    async with dial(servers["uvicorn"].url, mine.bearer) as client:
        data = {"task_id": task_id, "last_event_id": events[-1]["id"]}
        await client.ask("task:subscribe", data)
        await read_on(client, events)
    assert text_of(events) == "".join(WORDS)


@pytest.mark.parametrize("kind", SERVERS)
async def test_redis_away_answers_unavailable_and_everything_comes_back(
    whole_site: Site, own_redis: RedisServer, settings: Any, kind: str
) -> None:
    site = Site(folder=whole_site.folder, redis_url=own_redis.url, accounts=whole_site.accounts)
    point_at(settings, site.redis_url, site.prefix)
    mine, later = whole_site.account(), whole_site.account()
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(site.serving(kind))
        client = await stack.enter_async_context(dial(server.url, mine.bearer))
        task_id = await start(mine, sample_tasks.add, 1, 2)
        await client.ask("task:subscribe", {"task_id": task_id})
        await client.next("task:event")
        own_redis.kill()
        for kind_of_frame in ("task:subscribe", "task:stop"):
            assert await client.refusal(kind_of_frame, {"task_id": task_id}) == "unavailable"
        assert await client.is_alive()
        # A new socket cannot join its room now; it is told to come again.
        async with dial(server.url, later.bearer) as early:
            assert await early.close_code() == 1013
        async with dial(server.url) as early:
            data = {"auth": {"token": later.token}}
            assert await early.refusal("user-join", data) == "unavailable"
            assert await early.close_code() == 1013
        own_redis.start()
        # What happened while nobody listened, and all after it, still arrives.
        stopped = await api.stop_task(task_id, by="test")
        assert stopped.status == "canceled"
        events: list[Frame] = []
        await read_on(client, events)
        assert events[-1]["data"]["status"] == "canceled"
        update = await client.wait_for(
            lambda frame: frame["type"] == "task:update" and frame["data"]["finished_at"]
        )
        assert update["data"]["id"] == task_id
    await api.shutdown()


async def test_changes_during_a_broken_subscription_are_shown_after_it(
    whole_site: Site, own_redis: RedisServer, settings: Any
) -> None:
    """Whoever listens is told of a gap, and the room reads the user's tasks again."""
    site = Site(folder=whole_site.folder, redis_url=own_redis.url, accounts=whole_site.accounts)
    point_at(settings, site.redis_url, site.prefix)
    mine = whole_site.account()
    with site.serving("daphne") as server:
        async with dial(server.url, mine.bearer) as client:
            await client.ask("user-join")
            task_id = await start(mine, sample_tasks.add, 1, 2)
            await client.next("task:update")
            own_redis.kill()
            assert await client.refusal("task:stop", {"task_id": task_id}) == "unavailable"
            client.frames.clear()
            own_redis.start()
            assert (await client.next("task:update"))["id"] == task_id
    await api.shutdown()
