"""The named rooms that one socket has joined; every action asks anew whether it may."""

from __future__ import annotations

import asyncio
from typing import Any

from realtime import access, auth, conf
from realtime.domain import close_codes, messages
from realtime.domain.messages import FrameError, RoomJoin, RoomLeave, RoomSend
from realtime.outbox import Outbox
from realtime.rooms.named import NamedRoom
from realtime.rooms.registry import Rooms
from realtime.scope import Message

Answer = dict[str, Any]


class RoomGuest:
    """A socket as a guest of rooms."""

    def __init__(self, identity: auth.Identity, outbox: Outbox, rooms: Rooms) -> None:
        self._identity = identity
        self._outbox = outbox
        self._rooms = rooms
        self._joined: dict[str, NamedRoom] = {}

    @property
    def user_id(self) -> str:
        return self._identity.user_id

    @property
    def user_name(self) -> str:
        return self._identity.name

    def push(self, message: Message) -> None:
        self._outbox.push(message)

    async def join(self, frame: RoomJoin) -> Answer:
        """Enter a room; it is heard from `welcome` on. Raises FrameError and StoreUnavailable."""
        await self._check(frame.room)
        if frame.room not in self._joined:
            most = conf.limit("rooms")
            if len(self._joined) >= most:
                raise FrameError(
                    "rate_limited", f"A socket is in at most {most} rooms at once; leave one."
                )
            room = self._joined[frame.room] = self._rooms.find(NamedRoom, frame.room)
            try:
                await room.join(self)
            except BaseException:
                await self._leave(frame.room)
                raise
        return {"room": frame.room}

    def welcome(self, room: str) -> None:
        """Let the client hear the room, now that it knows it is in."""
        if room in self._joined:
            self._joined[room].welcome(self)

    async def leave(self, frame: RoomLeave) -> Answer:
        await self._leave(frame.room)
        return {"room": frame.room}

    async def send(self, frame: RoomSend) -> Answer:
        """Hand an event to all in the room; raises FrameError and StoreUnavailable."""
        room = self._joined.get(frame.room)
        if room is None:
            raise FrameError("forbidden", "Join the room before you send to it.")
        await self._check(frame.room)
        data = {
            "room": frame.room,
            "from": {"id": self.user_id, "name": self.user_name},
            "event": frame.event,
            "data": frame.data,
        }
        try:
            text = messages.encode("room:event", data)
        except ValueError as error:
            raise FrameError("invalid", f"data: cannot be sent on: {error}.") from None
        await room.send(text)
        return {"room": frame.room}

    @property
    def rooms(self) -> tuple[str, ...]:
        """Where it is now."""
        return tuple(self._joined)

    async def evict(self, name: str) -> None:
        """Take it out of a room where the user may not be any more, and say so."""
        if name in self._joined:
            await self._leave(name)
            detail = "You may not be in this room any more."
            data = {"code": "forbidden", "detail": detail, "room": name}
            self._outbox.push(messages.outgoing(messages.encode("error", data)))

    async def aclose(self) -> None:
        await asyncio.gather(*(self._leave(name) for name in self.rooms))

    async def _check(self, room: str) -> None:
        try:
            allowed = await access.may_enter(self._identity, room)
        except access.NobodyThere:
            raise FrameError(
                "not_signed_in",
                "Your account has been deactivated.",
                close_code=close_codes.NOT_SIGNED_IN,
            ) from None
        if not allowed:
            raise FrameError("forbidden", "You may not be in this room.")

    async def _leave(self, name: str) -> None:
        room = self._joined.pop(name, None)
        if room is not None:
            await self._rooms.leave(room, self)
