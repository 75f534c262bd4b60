"""The embedded Redis: alone, shared by two, killed, spoilt, with real servers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from tasks_app.supervisor.child import Backoff
from tasks_app.supervisor.console import Console
from tasks_app.supervisor.embedded import EmbeddedRedis
from tasks_app.supervisor.errors import StartRefused
from tasks_app.supervisor.redis_server import RedisServer, State
from tests.support.eventually import eventually


@pytest.fixture
def place() -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))  # short: a socket's path is limited
    yield RedisServer(data=folder / "redis", socket=folder / "redis" / "redis.sock")
    shutil.rmtree(folder)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@contextlib.asynccontextmanager
async def started(place: RedisServer, stream: io.StringIO) -> AsyncIterator[EmbeddedRedis]:
    embedded = EmbeddedRedis(place, Console(stream), backoff=Backoff(first=0.01, cap=0.1))
    keeper: asyncio.Task[None] | None = None
    try:
        await embedded.start()
        keeper = asyncio.create_task(embedded.keep_alive())
        yield embedded
    finally:
        await embedded.stop()
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)


def connect(place: RedisServer) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(place.socket), decode_responses=True)


async def test_it_is_configured_to_keep_tasks(place: RedisServer, stream: io.StringIO) -> None:
    async with started(place, stream):
        assert await place.state() is State.READY
        with contextlib.closing(connect(place)) as client:
            for name, value in {
                "appendonly": "yes",
                "appendfsync": "everysec",
                "save": "",
                "maxmemory-policy": "noeviction",
                "port": "0",
                "dir": str(place.data),
            }.items():
                assert client.config_get(name) == {name: value}
    assert await place.state() is State.ABSENT


async def test_what_was_written_is_there_after_a_restart(
    place: RedisServer, stream: io.StringIO
) -> None:
    async with started(place, stream):
        with contextlib.closing(connect(place)) as client:
            client.set("task", "kept")
    async with started(place, stream):
        with contextlib.closing(connect(place)) as client:
            assert client.get("task") == "kept"


async def test_a_killed_server_is_started_again_with_its_data(
    place: RedisServer, stream: io.StringIO
) -> None:
    async with started(place, stream) as embedded:
        first = embedded.pid
        assert first is not None
        with contextlib.closing(connect(place)) as client:
            client.set("task", "kept")
            # kill -9 loses nothing that was written to the file; wait for the write itself.
            await eventually(lambda: _written(place))
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: _ready_again(place, embedded, first), within=10)
        with contextlib.closing(connect(place)) as client:
            assert client.get("task") == "kept"
    assert "redis ended (signal SIGKILL)" in stream.getvalue()


async def _written(place: RedisServer) -> bool:
    return any(b"kept" in file.read_bytes() for file in place.data.rglob("*.aof"))


async def _ready_again(place: RedisServer, embedded: EmbeddedRedis, first: int) -> bool:
    return embedded.pid not in {None, first} and await place.state() is State.READY


async def test_a_second_one_shares_it_and_does_not_stop_it(
    place: RedisServer, stream: io.StringIO
) -> None:
    async with started(place, stream):
        async with started(place, stream) as second:
            assert second.pid is None
            assert "using the Redis that already runs" in stream.getvalue()
        assert await place.state() is State.READY


async def test_the_second_one_takes_over_when_the_first_ends(
    place: RedisServer, stream: io.StringIO
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(started(place, stream))
        async with started(place, stream) as second:
            await stack.aclose()
            await eventually(lambda: _ready_again(place, second, 0), within=10)
    assert await place.state() is State.ABSENT


async def test_two_that_start_at_once_make_one_server(
    place: RedisServer, stream: io.StringIO
) -> None:
    both = [EmbeddedRedis(place, Console(stream)) for _ in range(2)]
    try:
        await asyncio.gather(*(one.start() for one in both))
        assert sorted(one.pid is None for one in both) == [False, True]
    finally:
        await asyncio.gather(*(one.stop() for one in both))


async def test_a_spoilt_file_stops_the_start_and_stays_as_it_is(
    place: RedisServer, stream: io.StringIO
) -> None:
    async with started(place, stream):
        with contextlib.closing(connect(place)) as client:
            client.set("task", "kept")
    spoilt = [file for file in place.data.rglob("*.aof*") if file.is_file()]
    for file in spoilt:
        file.write_bytes(b"from a newer Redis\r\n" * 5)
    with pytest.raises(StartRefused, match=r"could not start on .* install that version again"):
        async with started(place, stream):
            pass
    assert all(file.read_bytes() == b"from a newer Redis\r\n" * 5 for file in spoilt)
    assert await place.state() is State.ABSENT


async def test_who_does_not_answer_is_busy_and_left_alone(
    place: RedisServer, stream: io.StringIO
) -> None:
    async with started(place, stream) as embedded:
        assert embedded.pid is not None
        os.kill(embedded.pid, signal.SIGSTOP)
        try:
            assert await place.state() is State.BUSY
        finally:
            os.kill(embedded.pid, signal.SIGCONT)
