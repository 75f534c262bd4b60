"""A Yjs client for the tests, as y-websocket's provider is one: a document, a socket, presence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from typing import Any

from pycrdt import Doc, Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from realtime.documents import protocol
from realtime.documents.protocol import Entry
from realtime.documents.schema import Reader
from tests.support.eventually import eventually

PATIENCE = 15.0


class Editor:
    """One document of one user; it may be connected, cut off and connected again."""

    def __init__(self, client_id: int | None = None) -> None:
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get("content", type=Text)
        self.client = client_id or random.getrandbits(32)
        self.clock = 0
        self.presences: dict[int, tuple[int, Any]] = {}
        self.denied: list[str] = []
        self.frames: list[bytes] = []  # as received
        self.steps_1 = 0
        self.is_synced = asyncio.Event()
        self.close_code: int | None = None
        self._is_remote = False
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None
        self._subscription = self.doc.observe(self._changed)

    def _changed(self, event: Any) -> None:
        if not self._is_remote and self._connection is not None:
            self._outgoing.put_nowait(protocol.update(event.update))

    # --- connection ------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def online(self, url: str, **options: Any) -> AsyncIterator[Editor]:
        """Be connected while the block runs; returns when the server has answered step 1."""
        await self.connect(url, **options)
        try:
            await self.synced()
            yield self
        finally:
            await self.disconnect()

    async def connect(self, url: str, **options: Any) -> None:
        self.is_synced.clear()
        self.close_code = None
        options = {"max_size": None, "open_timeout": PATIENCE, "close_timeout": 2, **options}
        self._connection = await connect(url, proxy=None, **options)
        self._reader = asyncio.create_task(self._read(self._connection))
        self._writer = asyncio.create_task(self._write(self._connection))
        with contextlib.suppress(ConnectionClosed):  # refused
            await self.send(protocol.step_1(self.doc.get_state()))

    async def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        await connection.close()
        for task in (self._reader, self._writer):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def cut(self) -> None:
        """Lose the connection without a closing handshake."""
        assert self._connection is not None
        self._connection.transport.abort()
        await self.disconnect()

    async def send(self, frame: bytes | str) -> None:
        assert self._connection is not None
        await self._connection.send(frame)

    async def synced(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.is_synced.wait()

    async def closed(self) -> int | None:
        """Wait for the server to close; return its code."""
        assert self._reader is not None
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([self._reader])
        return self.close_code

    async def closed_at_last(self) -> None:
        """Wait for the end of the connection, however long it takes."""
        assert self._reader is not None
        await asyncio.wait([self._reader])

    async def has_as_many_words(self, number: int) -> None:
        async def all_there() -> bool:
            return len(str(self.text).split()) == number

        await eventually(all_there, within=PATIENCE)

    async def has(self, text: str) -> None:
        async def same() -> bool:
            assert str(self.text) == text, (str(self.text)[-200:], text[-200:])
            return True

        await eventually(same, within=PATIENCE)

    async def _write(self, connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send(await self._outgoing.get())

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for message in connection:
                assert isinstance(message, bytes)
                await self._received(message)
        except ConnectionClosed:
            pass
        self.close_code = connection.close_code

    async def _received(self, frame: bytes) -> None:
        self.frames.append(frame)
        reader = Reader(frame)
        kind = reader.number()
        if kind == protocol.SYNC:
            step, body = reader.number(), reader.chunk()
            if step == protocol.STEP_1:
                self.steps_1 += 1
                await self.send(protocol.step_2(self.doc.get_update(body)))
            else:
                self._apply(body)
                if step == protocol.STEP_2:
                    self.is_synced.set()
        elif kind == protocol.AWARENESS:
            inner = Reader(reader.chunk())
            for _ in range(inner.number()):
                client, clock, state = inner.number(), inner.number(), json.loads(inner.text())
                self._take(client, clock, state)
        elif kind == protocol.AUTH:
            assert reader.number() == protocol.PERMISSION_DENIED
            self.denied.append(reader.text())
        reader.end()

    def _apply(self, update: bytes) -> None:
        self._is_remote = True
        try:
            self.doc.apply_update(update)
        finally:
            self._is_remote = False

    def _take(self, client: int, clock: int, state: Any) -> None:
        known = self.presences.get(client, (-1, None))
        if clock > known[0] or (clock == known[0] and state is None):
            self.presences[client] = (clock, state)

    # --- acting ----------------------------------------------------------------------------------

    def type(self, text: str) -> None:
        """Write at the end."""
        self.text.insert(len(self.text), text)

    async def appear(self, state: Any, clock: int | None = None) -> None:
        """Announce a presence; None ends it."""
        self.clock = self.clock + 1 if clock is None else clock
        entry = Entry(self.client, self.clock, json.dumps(state))
        await self.send(protocol.presence([entry]))

    @property
    def others(self) -> dict[int, Any]:
        return {
            client: state
            for client, (_, state) in self.presences.items()
            if state is not None and client != self.client
        }
