"""A named room: the sockets that joined it, the events they send each other, and who is there."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from realtime.domain import messages
from realtime.domain.limits import PRESENCE_REFRESH_SECONDS, PRESENCE_SECONDS
from realtime.rooms.room import Listener, Room, broadcast
from realtime.store import channels, presence
from tasks_app import api
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)


class Guest(Listener, Protocol):
    """A socket in the room, and whose it is."""

    @property
    def user_id(self) -> str:
        """Whose socket it is."""

    @property
    def user_name(self) -> str:
        """What others see of them."""


class NamedRoom(Room[Guest]):
    """The sockets in a room on this process; they hear from `welcome` on."""

    def __init__(self, name: str, instance: str) -> None:
        super().__init__(name, instance)
        self._hearing: dict[Guest, None] = {}
        self._sockets: Counter[str] = Counter()  # how many each user has here
        self._names: dict[str, str] = {}
        self._to_settle: set[str] = set()  # users whose number of sockets has changed
        self._announced: dict[str, str] = {}  # users whom Redis has as present on this process
        self._fresh: set[Guest] = set()  # have not been shown who is here
        self._shown: presence.Present | None = None
        self._stirred = asyncio.Event()  # who is here may have changed, or somebody is new
        self._missed = False  # Redis may have lost what we told it
        self._attendant: asyncio.Task[None] | None = None

    def welcome(self, guest: Guest) -> None:
        """Let a member hear the room from now on, beginning with who is in it."""
        if guest in self._members:
            self._hearing[guest] = None
            self._fresh.add(guest)
            self._stirred.set()

    async def send(self, frame: str) -> None:
        """Hand a frame to everybody in the room, here and elsewhere; raises StoreUnavailable."""
        await channels.publish_to_room(self.name, frame)

    async def join(self, member: Guest) -> None:
        if member not in self._members:
            self._count(member, +1)
        await super().join(member)

    async def leave(self, member: Guest) -> None:
        self._hearing.pop(member, None)
        self._fresh.discard(member)
        if member in self._members:
            self._count(member, -1)
        await super().leave(member)

    def _count(self, member: Guest, change: int) -> None:
        self._sockets[member.user_id] += change
        self._names[member.user_id] = member.user_name
        self._to_settle.add(member.user_id)

    def _listen(self) -> AbstractAsyncContextManager[None]:
        return channels.listen_room(self.name, self._heard)

    def _heard(self, message: str | None) -> None:
        if message:
            broadcast(tuple(self._hearing), messages.outgoing(message))
        else:
            self._missed = self._missed or message is None
            self._stirred.set()

    async def _joined(self) -> None:
        """Let Redis know which users have come with their first socket here."""
        come = self._settled(is_here=True)
        if come:
            self._announced.update(come)  # first: a call that fails may have been executed
            await presence.touch(self.name, self.instance, come)
        if self._attendant is None:
            self._attendant = asyncio.create_task(self._attend(), name="signalbox-room")

    async def _left(self) -> None:
        """Let Redis know which users have left with their last socket here."""
        gone = self._settled(is_here=False)
        for user_id in gone:
            del self._announced[user_id], self._sockets[user_id], self._names[user_id]
        if gone:
            try:
                await presence.drop(self.name, self.instance, gone)
            except StoreUnavailable:
                # Nobody hears of it before Redis is back, and then it expires by itself.
                log.warning("presence_not_dropped room=%s", self.name)

    def _settled(self, *, is_here: bool) -> dict[str, str]:
        """Return who, of those who came and went, is here now and was not, or the reverse."""
        found = {
            user_id: self._names[user_id]
            for user_id in self._to_settle
            if (self._sockets[user_id] > 0) is is_here
            and (user_id in self._announced) is not is_here
        }
        self._to_settle.difference_update(
            [user_id for user_id in self._to_settle if (self._sockets[user_id] > 0) is is_here]
        )
        return found

    async def _closed(self) -> None:
        if self._attendant is not None:
            await api.end_owned(self._attendant)
            self._attendant = None
        for kept in (self._sockets, self._names, self._to_settle, self._announced):
            kept.clear()
        self._shown = None

    async def _attend(self) -> None:
        """Show who is here when it changes, within its rate; and say again that we are here."""
        loop = asyncio.get_running_loop()
        due = loop.time() + PRESENCE_REFRESH_SECONDS
        while True:
            stirred = await self._stirs_within(due - loop.time())
            try:
                if loop.time() >= due or self._missed:
                    async with self._lock:  # or it could bring back who leaves meanwhile
                        await presence.touch(self.name, self.instance, self._announced)
                    due, self._missed = loop.time() + PRESENCE_REFRESH_SECONDS, False
                if stirred:
                    self._show(await presence.read(self.name))
            except StoreUnavailable:
                stirred = self._missed = True
                self._stirred.set()
            except Exception:  # stay alive: without this task the room's presence expires
                log.exception("presence_failed room=%s", self.name)
            if stirred:
                await asyncio.sleep(PRESENCE_SECONDS)

    async def _stirs_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stirred.wait()
        except TimeoutError:
            return False
        self._stirred.clear()
        return True

    def _show(self, now: presence.Present) -> None:
        """Send who is here to all if it has changed, else to those who have not seen it."""
        guests = tuple(self._hearing) if now != self._shown else tuple(self._fresh)
        self._fresh.clear()
        self._shown = now
        users = [{"id": user_id, "name": name} for user_id, name in now.users]
        data = {"room": self.name, "count": now.count, "users": users}
        broadcast(guests, messages.outgoing(messages.encode("room:presence", data)))
