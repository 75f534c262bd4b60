"""The rooms of one process and event loop that have somebody in them."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from realtime.rooms.room import Room

MemberT = TypeVar("MemberT")
RoomT = TypeVar("RoomT", bound=Room[Any])


class Rooms:
    """Finds or makes the room of a kind and name, and forgets it with its last member."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self._rooms: dict[tuple[type[Room[Any]], str], Room[Any]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def find(self, kind: type[RoomT], name: str) -> RoomT:
        """Return the room; it is forgotten again unless somebody joins and leaves it."""
        room = self._rooms.get((kind, name))
        if not isinstance(room, kind):
            room = self._rooms[kind, name] = kind(name, self.instance)
        return room

    async def leave(self, room: Room[MemberT], member: MemberT) -> None:
        """Take a member out, also one whose joining failed or was cancelled half-way."""
        try:
            await room.leave(member)
        finally:
            # Somebody may have joined while the subscription was given up.
            key = (type(room), room.name)
            if room.is_empty and self._rooms.get(key) is room:
                del self._rooms[key]

    def leave_soon(self, room: Room[MemberT], member: MemberT) -> None:
        """Do so in an asyncio task of ours, for who cannot wait."""
        task = asyncio.create_task(self.leave(room, member), name="signalbox-leave")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
