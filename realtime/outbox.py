"""One socket's outgoing frames: sent at once while the client reads, queued within bounds if not.

A frame is sent eagerly: the server's `send` coroutine is stepped once where the frame arises.
Only one that blocks gets a queue and a task, so that an idle or well-read socket costs neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from realtime.domain.limits import (
    MAX_QUEUED_CHARACTERS,
    MAX_QUEUED_FRAMES,
    SLOW_READER_SECONDS,
    SLOWEST_BYTES_PER_SECOND,
)
from realtime.scope import Message
from realtime.server_adapter import Connection
from tasks_app import api

Sending = Coroutine[Any, Any, None]

# How the servers say that a client is gone: uvicorn's ClientDisconnected, and RuntimeError after a
# close of its own; autobahn's Disconnected. `receive` tells the consumer.
GONE = (OSError, RuntimeError)


class Outbox:
    """The frames on their way to one client; calls `on_slow` when it does not read them in time."""

    def __init__(self, connection: Connection, on_slow: Callable[[], None]) -> None:
        self._connection = connection
        self._on_slow = on_slow
        self._waiting: deque[Message] = deque()
        self._characters = 0
        self._drainer: asyncio.Task[None] | None = None
        self._closed = False
        self._size = 0  # of the last frame, if it was binary
        self._patience = SLOW_READER_SECONDS

    @property
    def is_blocked(self) -> bool:
        """Whether a frame is still on its way, so that the next one would wait behind it."""
        return self._drainer is not None

    def push(self, message: Message) -> None:
        """Send, or queue behind what blocks; never waits. Beyond the bounds the reader is slow."""
        if self._closed:
            return
        if self._drainer is None:
            self._step(message)
            return
        self._waiting.append(message)
        self._characters += len(message["text"])
        if len(self._waiting) > MAX_QUEUED_FRAMES or self._characters > MAX_QUEUED_CHARACTERS:
            self._on_slow()

    def offer(self, message: Message) -> bool:
        """Send, unless something blocks; answer whether it was sent. Nothing is queued."""
        if self._drainer is not None:
            return False
        if not self._closed:
            self._step(message)
        return True

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call back once nothing blocks any more; at once if nothing does."""
        if self._drainer is None:
            callback()
        else:
            self._drainer.add_done_callback(lambda _: callback())

    async def put(self, message: Message) -> None:
        """Wait until nothing blocks, then send: for who can wait and must not lose a frame."""
        while self._drainer is not None and not self._closed:
            await asyncio.wait([self._drainer])
        self.push(message)

    def close(self) -> None:
        """Drop what waits and send nothing more."""
        self._closed = True
        self._waiting.clear()
        if self._drainer is not None:
            self._drainer.cancel()

    async def aclose(self) -> None:
        self.close()
        if self._drainer is not None:
            await api.end_owned(self._drainer)

    def _step(self, message: Message) -> None:
        # daphne takes any frame at once: the time that it needs is then the next one's.
        self._patience = SLOW_READER_SECONDS + self._size / SLOWEST_BYTES_PER_SECOND
        self._size = len(message.get("bytes") or b"")
        self._patience += self._size / SLOWEST_BYTES_PER_SECOND
        sending: Sending = self._connection.send(message)
        try:
            blocker = sending.send(None)
        except StopIteration:
            return
        except GONE:
            self._closed = True
            return
        self._drainer = asyncio.create_task(self._drain(sending, blocker), name="signalbox-outbox")

    async def _drain(self, sending: Sending, blocker: Any) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await _resume(sending, blocker)
            while self._waiting:
                message = self._waiting.popleft()
                self._characters -= len(message["text"])
                async with asyncio.timeout(SLOW_READER_SECONDS):
                    await self._connection.send(message)
        except TimeoutError:
            self._closed = True
            self._on_slow()
        except GONE:
            self._closed = True
        finally:
            self._drainer = None


@types.coroutine
def _resume(coroutine: Sending, blocker: Any) -> Generator[Any, Any, None]:
    """Go on, inside a task, with a coroutine that was stepped once and waits for `blocker`."""
    try:
        while True:
            try:
                value = yield blocker
            except BaseException as error:  # noqa: BLE001 handed to the coroutine, as `await` does
                blocker = coroutine.throw(error)
            else:
                blocker = coroutine.send(value)
    except StopIteration:
        return
    finally:
        with contextlib.suppress(RuntimeError):
            coroutine.close()
