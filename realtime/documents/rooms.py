"""The rooms of documents that are open in this process, per event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from realtime.documents.audience import Member
from realtime.documents.room import Room


class Rooms:
    """Makes a document's room for its first member, and lets go of it with the last."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def joined(self, document_id: str, member: Member) -> AsyncIterator[Room]:
        """Be in the document's room while the block runs.

        Raises DocumentNotFound, or DocumentUnavailable when Redis or the database is away.
        """
        room = self._rooms.get(document_id)
        if room is None or room.is_over:
            room = self._rooms[document_id] = Room(document_id)
        try:
            await room.join(member)
            yield room
        finally:
            room.leave(member)
            if room.is_empty:
                self._let_go(room)

    def _let_go(self, room: Room) -> None:
        # Who comes next gets a new one, as if in another process: the log joins the two.
        if self._rooms.get(room.document_id) is room:
            del self._rooms[room.document_id]
        task = asyncio.create_task(room.finished(), name="signalbox-room-end")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def finished(self) -> None:
        """Wait until the rooms that everybody has left have written everything."""
        while self._ending:
            await asyncio.wait(tuple(self._ending))

    @property
    def open_documents(self) -> list[str]:
        return list(self._rooms)


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Rooms] = WeakKeyDictionary()


def rooms() -> Rooms:
    """Return the running loop's rooms, made on first use."""
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        _by_loop[loop] = Rooms()
    return _by_loop[loop]
