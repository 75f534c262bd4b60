"""One hub per process and event loop: which sockets are here, and the rooms that they are in.

A room joins its Redis subscription when its first local socket comes and leaves it with the last.
A message is encoded once and handed to each socket of the room in a plain loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Protocol
from weakref import WeakKeyDictionary

from realtime import access, auth, conf
from realtime.domain import close_codes
from realtime.domain.calls import new_instance
from realtime.domain.limits import CLOSE_SECONDS, MAX_SOCKETS_BEFORE_SIGN_IN, RECHECK_SECONDS
from realtime.rooms.instance import Callee, InstanceRoom
from realtime.rooms.registry import Rooms
from realtime.rooms.room import Listener
from realtime.rooms.usage import UsageRoom
from realtime.rooms.user import UserRoom
from realtime.server_adapter import Connection
from tasks_app import api
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)

RECHECK_BATCH = 50  # credentials looked up at a time, so that other use of the database gets in


class TooManySockets(Exception):
    """You have too many sockets open here: close one, then connect again."""


class Watched(Protocol):
    """Somebody signed in, whose rights may change."""

    identity: auth.Identity
    credential: auth.Credential

    async def recheck(self, identity: auth.Identity | None) -> None:
        """Look at one's rights again; `identity` is whose the credential is at this moment."""


class Guest(Protocol):
    """The named rooms of a socket."""

    @property
    def rooms(self) -> tuple[str, ...]:
        """Where it is now."""

    async def evict(self, name: str) -> None:
        """Take it out of a room, and say so."""


class Member(Watched, Callee, Listener, Protocol):
    """A signed-in socket of `/ws/`, as the hub sees it."""

    @property
    def guest(self) -> Guest:
        """Its named rooms."""


class Socket(Protocol):
    """An open connection, signed in or not."""

    def close(self, code: int) -> None:
        """Close with a code, without waiting."""


class Hub:
    """The open sockets of this process, and the rooms that they are in."""

    def __init__(self) -> None:
        self._sockets: set[Socket] = set()
        self._socket_left = asyncio.Event()
        self._is_watching = False
        self._is_stopping = False
        self._watched: set[Watched] = set()
        self._members: set[Member] = set()  # those of them that may be in rooms
        self.instance = new_instance()
        self.rooms = Rooms(self.instance)
        self._usage = UsageRoom()
        self._recheckers: list[asyncio.Task[None]] = []
        self._hints = Hints()
        self._rechecked = Hints()  # whose rooms are to be looked at too
        self._before_sign_in = 0

    @contextmanager
    def holding(self, socket: Socket, connection: Connection) -> Iterator[None]:
        """Know of an open socket while the block runs, and close it when the server shuts down."""
        if not self._is_watching:
            self._is_watching = True
            connection.before_shutdown(self._shut_down)
        self._sockets.add(socket)
        try:
            if self._is_stopping:
                socket.close(close_codes.RESTARTING)
            yield
        finally:
            self._sockets.discard(socket)
            self._socket_left.set()

    async def _shut_down(self) -> None:
        self._is_stopping = True
        for socket in tuple(self._sockets):
            socket.close(close_codes.RESTARTING)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._sockets:
                    self._socket_left.clear()
                    await self._socket_left.wait()

    def admit(self) -> bool:
        """Count a socket that has not signed in; False when there are too many of them."""
        if self._before_sign_in >= MAX_SOCKETS_BEFORE_SIGN_IN:
            return False
        self._before_sign_in += 1
        return True

    def discharge(self) -> None:
        """Count a socket out that `admit` let in: it has signed in, or gone."""
        self._before_sign_in -= 1

    async def join(self, member: Member) -> None:
        """Add a socket to its user's room.

        Raises StoreUnavailable when Redis does not answer, TooManySockets when the user has as many
        here as one may have.
        """
        room = self.rooms.find(UserRoom, member.identity.user_id)
        if room.size >= conf.limit("sockets_per_user"):
            raise TooManySockets
        self.watch(member)
        self._members.add(member)
        self._usage.join(member)
        await room.join(member)
        await self.rooms.find(InstanceRoom, self.instance).join(member)

    def watch(self, member: Watched) -> None:
        """Look at somebody's identity and rights from time to time, and when they changed."""
        self._watched.add(member)
        if not self._recheckers:
            self._recheckers = [
                asyncio.create_task(self._recheck_for_ever(), name="signalbox-recheck"),
                asyncio.create_task(self._recheck_rooms_for_ever(), name="signalbox-recheck-rooms"),
            ]

    def unwatch(self, member: Watched) -> None:
        """Look at them no more."""
        self._watched.discard(member)
        if not self._watched:
            for rechecker in self._recheckers:
                rechecker.cancel()
            self._recheckers = []

    async def leave(self, member: Member) -> None:
        """Take a socket out again, also one whose joining failed or was cancelled half-way."""
        self.unwatch(member)
        self._members.discard(member)
        await self._usage.leave(member)
        await self.rooms.leave(self.rooms.find(UserRoom, member.identity.user_id), member)
        await self.rooms.leave(self.rooms.find(InstanceRoom, self.instance), member)

    async def _recheck_for_ever(self) -> None:
        """Look up credentials in use again, each once per round, however many sockets.

        Those of a user whose rights are said to have changed at once, all from time to time.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + RECHECK_SECONDS
        async with AsyncExitStack() as listening:
            is_listening = False
            while True:
                if not is_listening:
                    with suppress(StoreUnavailable):
                        await listening.enter_async_context(api.listen_access(self._hints.put))
                        is_listening = True
                concerned = await self._hints.within(due - loop.time())
                if loop.time() >= due:
                    concerned, due = None, loop.time() + RECHECK_SECONDS
                await self._recheck_all(concerned)
                for user_id in [""] if concerned is None else concerned:
                    self._rechecked.put(user_id)

    async def _recheck_rooms_for_ever(self) -> None:
        """Look again who may be in which room, after the credentials.

        In an asyncio task of its own: the project's function may take its time, and whoever is to
        be signed out must not wait for it.
        """
        while True:
            concerned = await self._rechecked.within(2 * RECHECK_SECONDS)
            try:
                await self._recheck_rooms(concerned)
            except auth.IdentityUnknown:
                log.warning("recheck_skipped reason=database")
            except Exception:  # stay alive: without this task nobody ever loses a room
                log.exception("recheck_failed")

    async def _recheck_rooms(self, concerned: set[str] | None) -> None:
        guests = [
            (member.identity.user_id, member.guest)
            for member in self._members
            if concerned is None or member.identity.user_id in concerned
        ]
        asked = {(user_id, room) for user_id, guest in guests for room in guest.rooms}
        denied = asked - await access.entitled(asked)
        for user_id, guest in guests:
            for room in guest.rooms:
                if (user_id, room) in denied:
                    await guest.evict(room)

    async def _recheck_all(self, concerned: set[str] | None) -> None:
        """Look at the sockets of these users again; None means everybody's."""
        by_credential: dict[auth.Credential, list[Watched]] = {}
        for member in self._watched:
            if concerned is None or member.identity.user_id in concerned:
                by_credential.setdefault(member.credential, []).append(member)
        credentials = list(by_credential)
        for at in range(0, len(credentials), RECHECK_BATCH):
            some = credentials[at : at + RECHECK_BATCH]
            try:
                await _recheck({one: by_credential[one] for one in some})
            except Exception:  # stay alive: without this task nobody is ever signed out
                log.exception("recheck_failed")


class Hints:
    """Whose rights may have changed, collected until somebody looks."""

    def __init__(self) -> None:
        self._users: set[str] = set()
        self._is_everybody = False
        self._arrived = asyncio.Event()

    def put(self, user_id: str | None) -> None:
        """Take a hint; an empty one is about many, and None says that some were missed."""
        if user_id:
            self._users.add(user_id)
        else:
            self._is_everybody = True
        self._arrived.set()

    async def within(self, seconds: float) -> set[str] | None:
        """Return whom the hints so far are about, or come to be in time; None is everybody."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        self._arrived.clear()
        users, self._users = self._users, set()
        is_everybody, self._is_everybody = self._is_everybody, False
        return None if is_everybody else users


async def _recheck(by_credential: dict[auth.Credential, list[Watched]]) -> None:
    try:
        identities = await auth.identify_all(by_credential)
    except auth.IdentityUnknown:
        log.warning("recheck_skipped reason=database")
        return
    for credential, members in by_credential.items():
        for member in members:
            try:
                await member.recheck(identities.get(credential))
            except auth.IdentityUnknown:
                log.warning("recheck_skipped reason=database")
            except Exception:  # one socket's failure must not keep others signed in
                log.exception("recheck_failed")


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """Return the running loop's hub, made on first use."""
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        _by_loop[loop] = Hub()
    return _by_loop[loop]
