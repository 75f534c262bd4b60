"""Changing a document by our own code, through the live document: whole edits, or as one who types.

It works in every process, a worker as well as a web process: a room of its own is opened, and the
update log carries the change to the others.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from realtime import conf
from realtime.documents.differences import splices
from realtime.documents.inbox import Change
from realtime.documents.live import Anchor, LiveText
from realtime.documents.protocol import EMPTY_UPDATE, Entry, Frame, Kind
from realtime.documents.room import Room
from realtime.documents.rooms import rooms
from realtime.errors import DocumentTooLarge, DocumentUnavailable

EDIT_SECONDS: Final = 10.0
COLOUR: Final = "#8a63d2"

# The new text, or what makes it of the text that is there at that moment.
TextEdit = str | Callable[[str], str]


class Hand:
    """Our own code as a member of a room; it is sent nothing."""

    def __init__(self, user_id: str | None = None) -> None:
        self.user_id = user_id

    def offer(self, frame: bytes) -> bool:  # noqa: ARG002 it looks at the document itself
        return True

    def when_free(self, callback: Callable[[], None]) -> None:
        callback()

    def close(self, code: int) -> None:
        """Learn of it by the next edit, which fails."""


async def edit_document(document_id: str, edit: TextEdit, *, user_id: str | None = None) -> str:
    """Change a document's text while people type in it; return the text as it then is.

    `edit` is the new text, or a function that makes it of the present text: it is called once, on
    the event loop, and must be quick. Only what differs is changed, so that others keep their
    cursors, and what they write elsewhere. When this returns, the change is in the update log and
    on its way to every open editor; the save follows. With `user_id` that user must be allowed to
    write.

    Raises DocumentNotFound, DocumentForbidden, DocumentTooLarge, DocumentUnavailable (Redis or the
    database is away), and what `edit` raises; then nothing was changed.
    """
    hand = Hand(user_id)
    try:
        async with asyncio.timeout(EDIT_SECONDS), rooms().joined(document_id, hand) as room:
            await room.edit(_change(edit), hand)
            return room.live.text
    except TimeoutError:
        raise DocumentUnavailable from None


def _change(edit: TextEdit) -> Change:
    def change(live: LiveText) -> bytes:
        old = live.text
        new = edit if isinstance(edit, str) else edit(old)
        if not isinstance(new, str):
            raise TypeError(f"An edit makes a text, not {type(new).__name__}.")
        _check_size(live, len(new.encode()) - len(old.encode()))
        return live.replace(splices(old, new))

    return change


def _check_size(live: LiveText, more: int) -> None:
    most = conf.document_max_bytes()
    if live.largest_size + more > most and live.size() + more > most:
        raise DocumentTooLarge


class Writer:
    """Types into a document as one of those in it, with a name and a cursor of its own."""

    def __init__(self, room: Room, hand: Hand, name: str) -> None:
        self._room = room
        self._hand = hand
        self._name = name
        self._client = secrets.randbits(32)
        self._clock = 0
        self._anchor: Anchor | None = None

    @property
    def text(self) -> str:
        return self._room.live.text

    async def write(self, text: str) -> None:
        """Insert text behind what was written before (first: at the end), and move the cursor.

        Raises as `edit_document`.
        """
        await self._room.edit(lambda live: self._insert(live, text), self._hand)
        await self.show()

    def _insert(self, live: LiveText, text: str) -> bytes:
        if not text:
            return EMPTY_UPDATE
        size = len(text.encode())
        _check_size(live, size)
        index = live.end if self._anchor is None else self._anchor.index
        update = live.insert(index, text)
        self._anchor = live.anchor(index + size)
        return update

    async def show(self) -> None:
        """Say who writes, and where; also a sign of life, to be repeated within 30 seconds."""
        anchor = self._anchor or self._room.live.anchor(self._room.live.end)
        place = anchor.position()
        self._clock += 1
        state = {
            "user": {"name": self._name, "color": COLOUR, "colorLight": f"{COLOUR}33"},
            "cursor": {"anchor": place, "head": place},
        }
        entry = Entry(self._client, self._clock, json.dumps(state))
        await self._room.put(self._hand, Frame(Kind.PRESENCE, entries=(entry,)))


@asynccontextmanager
async def writing(
    document_id: str, *, name: str, user_id: str | None = None
) -> AsyncIterator[Writer]:
    """Be in a document as a writer while the block runs; the cursor goes with its end.

    With `user_id` that user's right to write is checked now, before the document is shown to the
    block, and at each piece. Raises as `edit_document`.
    """
    hand = Hand(user_id)
    async with rooms().joined(document_id, hand) as room:
        await room.edit(lambda _: EMPTY_UPDATE, hand)
        writer = Writer(room, hand, name)
        await writer.show()
        yield writer
