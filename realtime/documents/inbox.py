"""What waits for a room's next round: frames, edits of our own code, departures; bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from realtime.documents.audience import Member
from realtime.documents.live import LiveText
from realtime.documents.protocol import Frame

MAX_ITEMS: Final = 2000  # then who hands something in waits
MAX_BYTES: Final = 32 * 1024 * 1024
ENTRY_BYTES: Final = 1024  # a presence, however short, is as much work as so many bytes
MAX_ROUND_ITEMS: Final = 500  # so that a round does not hold up everything else
MAX_ROUND_BYTES: Final = 4 * 1024 * 1024

# Changes the document and returns the update; EMPTY_UPDATE when nothing was to be changed.
Change = Callable[[LiveText], bytes]


@dataclass(frozen=True, slots=True)
class Received:
    """A member's frame."""

    member: Member
    frame: Frame


@dataclass(frozen=True, slots=True)
class Edit:
    """A change by our own code, and who waits for it to be in the log."""

    member: Member
    change: Change
    done: asyncio.Future[None]

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def succeed(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


@dataclass(frozen=True, slots=True)
class Left:
    """A member that has gone."""

    member: Member


Item = Received | Edit | Left


class Inbox:
    """Items in their order."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._has_place = asyncio.Event()
        self._has_place.set()

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def is_full(self) -> bool:
        return not self._has_place.is_set()

    async def put(self, item: Item) -> None:
        """Hand something in; waits while too much is waiting."""
        while not self._has_place.is_set():
            await self._has_place.wait()
        self.put_now(item)

    def put_now(self, item: Item) -> None:
        self._items.append(item)
        self._bytes += _size(item)
        if len(self._items) >= MAX_ITEMS or self._bytes >= MAX_BYTES:
            self._has_place.clear()

    def take(self) -> list[Item]:
        """Take what one round handles."""
        taken: list[Item] = []
        size = 0
        while self._items and len(taken) < MAX_ROUND_ITEMS and size < MAX_ROUND_BYTES:
            taken.append(self._items.popleft())
            size += _size(taken[-1])
        self._bytes -= size
        self._has_place.set()
        return taken

    def close(self, failure: Exception) -> None:
        """Let nobody wait any more, for a place or for an edit."""
        for item in self._items:
            if isinstance(item, Edit):
                item.fail(failure)
        self._items.clear()
        self._bytes = 0
        self._has_place.set()


def _size(item: Item) -> int:
    if not isinstance(item, Received):
        return 0
    return item.frame.size + ENTRY_BYTES * len(item.frame.entries)
