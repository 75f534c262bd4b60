"""One broadcast scope: the sockets of this process that share a subscription."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Generic, Protocol, TypeVar

from realtime.scope import Message


class Listener(Protocol):
    """What a room needs of a socket."""

    def push(self, message: Message) -> None:
        """Send a frame without waiting."""


MemberT = TypeVar("MemberT")


class Room(ABC, Generic[MemberT]):
    """Subscribed from its first local member to its last; made and forgotten by `Rooms`.

    `instance` is what this process is called among all that serve sockets.
    """

    def __init__(self, name: str, instance: str) -> None:
        self.name = name
        self.instance = instance
        self._members: dict[MemberT, None] = {}  # ordered: who came first hears first
        self._lock = asyncio.Lock()  # coming and going, one at a time
        self._subscription: contextlib.AsyncExitStack | None = None

    @property
    def size(self) -> int:
        return len(self._members)

    @property
    def is_empty(self) -> bool:
        return not self._members and not self._lock.locked()

    async def join(self, member: MemberT) -> None:
        """Add a member; once this returns, no later message is missed.

        Raises StoreUnavailable; the member must then, as at any time, be taken out by `leave`.
        """
        self._members[member] = None
        async with self._lock:
            if self._subscription is None:
                stack = contextlib.AsyncExitStack()
                await stack.enter_async_context(self._listen())
                self._subscription = stack
            await self._joined()

    async def leave(self, member: MemberT) -> None:
        """Take a member out, at once; the last one gives up the subscription."""
        self._members.pop(member, None)
        async with self._lock:
            await self._left()
            if self._members or self._subscription is None:
                return
            subscription, self._subscription = self._subscription, None
            await subscription.aclose()
            await self._closed()

    @abstractmethod
    def _listen(self) -> AbstractAsyncContextManager[None]:
        """Subscribe `_heard` while the block runs."""

    @abstractmethod
    def _heard(self, message: str | None) -> None:
        """Take a message; None means that some may have been missed. Must not block or raise."""

    async def _joined(self) -> None:
        """Follow the coming of members; may raise StoreUnavailable."""

    async def _left(self) -> None:
        """Follow the going of members; raises nothing."""

    async def _closed(self) -> None:
        """End what runs for the room: nobody is left in it."""


def broadcast(members: tuple[Listener, ...], message: Message) -> None:
    """Hand one prebuilt message to each socket in a plain loop; none of them can hold it up."""
    for member in members:
        member.push(message)
