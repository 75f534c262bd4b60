"""The outgoing side of a socket, against servers whose `send` does what we say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime import outbox as module
from realtime.domain.limits import MAX_QUEUED_CHARACTERS, MAX_QUEUED_FRAMES
from realtime.outbox import Outbox
from realtime.scope import Message
from realtime.server_adapter import Connection
from tests.support.eventually import eventually


class Server:
    """An ASGI `send` that waits while it is `blocked`, as uvicorn's does for a slow client."""

    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()
        self.sent: list[str] = []
        self.error: Exception | None = None
        self.slow = 0
        self.outbox = Outbox(Connection(self.send), self.count_slow)

    def count_slow(self) -> None:
        self.slow += 1
        self.outbox.close()

    async def send(self, message: Message) -> None:
        await self.writable.wait()
        if self.error is not None:
            raise self.error
        self.sent.append(message["text"])

    def push(self, text: str) -> None:
        self.outbox.push({"type": "websocket.send", "text": text})

    async def put(self, text: str) -> None:
        await self.outbox.put({"type": "websocket.send", "text": text})

    async def has_sent(self, count: int) -> None:
        async def check() -> bool:
            return len(self.sent) >= count

        await eventually(check)


@pytest.fixture
async def server() -> Any:
    made = Server()
    yield made
    made.writable.set()
    await made.outbox.aclose()


async def test_a_frame_is_sent_at_once_without_a_task(server: Server) -> None:
    before = asyncio.all_tasks()
    for number in range(100):
        server.push(str(number))
    assert server.sent == [str(number) for number in range(100)]
    assert asyncio.all_tasks() == before


async def test_frames_behind_one_that_blocks_keep_their_order(server: Server) -> None:
    server.push("a")
    server.writable.clear()
    for text in "bcd":
        server.push(text)
    assert server.sent == ["a"]
    server.writable.set()
    await server.has_sent(4)
    await asyncio.sleep(0)
    server.push("e")
    await server.has_sent(5)
    assert server.sent == list("abcde")


async def test_put_waits_while_the_client_does_not_read(server: Server) -> None:
    server.writable.clear()
    server.push("a")
    waiting = [asyncio.create_task(server.put(text)) for text in "bc"]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    server.writable.set()
    await asyncio.gather(*waiting)
    await server.has_sent(3)
    assert sorted(server.sent) == list("abc")


@pytest.mark.parametrize(
    ("count", "text"), [(MAX_QUEUED_FRAMES + 2, "x"), (5, "x" * (MAX_QUEUED_CHARACTERS // 3))]
)
async def test_beyond_the_bounds_the_reader_is_slow(server: Server, count: int, text: str) -> None:
    server.writable.clear()
    for _ in range(count):
        server.push(text)
    assert server.slow == 1
    server.writable.set()
    await server.outbox.aclose()
    assert len(server.sent) <= 1


async def test_a_reader_beyond_the_deadline_is_slow(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOW_READER_SECONDS", 0.05)
    server.writable.clear()
    server.push("a")
    waiting = asyncio.create_task(server.put("b"))

    async def is_slow() -> bool:
        return server.slow == 1

    await eventually(is_slow)
    await waiting
    assert server.sent == []


@pytest.mark.parametrize("error", [ConnectionResetError(), RuntimeError("after close")])
async def test_a_client_that_has_gone_harms_nobody(server: Server, error: Exception) -> None:
    server.error = error
    server.push("a")
    server.push("b")
    assert server.slow == 0
    other = Server()
    other.error = error
    other.writable.clear()
    other.push("a")
    other.writable.set()
    await other.put("b")
    assert other.sent == []
    assert other.slow == 0


async def test_closing_ends_who_waits(server: Server) -> None:
    server.writable.clear()
    server.push("a")
    waiting = asyncio.create_task(server.put("b"))
    await asyncio.sleep(0)
    await server.outbox.aclose()
    await asyncio.wait_for(waiting, 1)
    server.writable.set()
    server.push("c")
    assert server.sent == []
