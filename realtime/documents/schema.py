"""Checks a Yjs update, byte by byte, before pycrdt sees it: is it whole, and is it about our text?

A document is one text: the root `content`, with formatting and embedded JSON values. Nothing else
is let in: no other root, no nested type, no subdocument. Counts are compared with what is there,
because the decoder below allocates whatever an update claims to hold: four bytes could ask for
gigabytes, and end the process.
"""

from __future__ import annotations

import json
from typing import Final

ROOT: Final = "content"
MAX_CLOCK: Final = 2**31 - 1  # the decoder below counts in 32 bits
MAX_CLIENT: Final = 2**53 - 1
MAX_VALUE_BYTES: Final = 64 * 1024  # of one formatting attribute or embedded value

GC, DELETED, STRING, EMBED, FORMAT, SKIP = 0, 1, 4, 5, 6, 10
HAS_LEFT, HAS_RIGHT, HAS_KEY, KIND = 0x80, 0x40, 0x20, 0x1F


class InvalidUpdate(ValueError):
    """The update is malformed, or is about something other than the document's text."""


class Reader:
    """Reads lib0's encoding; raises InvalidUpdate at whatever is not there."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, most: int = MAX_CLIENT) -> int:
        data, at = self.data, self.at
        value = shift = 0
        try:
            while (byte := data[at]) > 0x7F:  # noqa: PLR2004 the bit that says: more follows
                value |= (byte & 0x7F) << shift
                shift += 7
                at += 1
                if shift > 56:  # noqa: PLR2004 more than 2**53 needs
                    raise InvalidUpdate("a number is too large")
        except IndexError:
            raise InvalidUpdate("it ends too early") from None
        value |= byte << shift
        if value > most:
            raise InvalidUpdate("a number is too large")
        self.at = at + 1
        return value

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise InvalidUpdate("it ends too early")
        self.at += 1
        return self.data[self.at - 1]

    def chunk(self) -> bytes:
        """Read a length and so many bytes."""
        length = self.number()
        end = self.at + length
        if end > len(self.data):
            raise InvalidUpdate("it ends too early")
        found = self.data[self.at : end]
        self.at = end
        return found

    def text(self) -> str:
        try:
            return self.chunk().decode()
        except UnicodeDecodeError:
            raise InvalidUpdate("a text is not UTF-8") from None

    def count(self, least_bytes: int) -> int:
        """Read a number of things, each of which takes at least so many bytes."""
        found = self.number()
        if found * least_bytes > len(self.data) - self.at:
            raise InvalidUpdate("it claims to hold more than there is")
        return found

    def end(self) -> None:
        if self.at != len(self.data):
            raise InvalidUpdate("something follows it")


def check_update(update: bytes) -> None:
    """Raise InvalidUpdate unless it is a whole update (version 1) of the document's text."""
    reader = Reader(update)
    for _ in range(reader.count(3)):
        blocks = reader.count(2)
        reader.number()
        clock = reader.number(MAX_CLOCK)
        for _ in range(blocks):
            clock += _block(reader)
            if clock > MAX_CLOCK:
                raise InvalidUpdate("a clock is too large")
    _deletions(reader)
    reader.end()


def check_state(state: bytes) -> None:
    """Raise InvalidUpdate unless it is a whole state vector."""
    reader = Reader(state)
    for _ in range(reader.count(2)):
        reader.number()
        reader.number(MAX_CLOCK)
    reader.end()


def has_blocks(update: bytes) -> bool:
    """Tell whether a valid update inserts anything."""
    return update[0] != 0


def deleted(update: bytes) -> dict[int, list[tuple[int, int]]]:
    """Return which clocks a valid update without blocks deletes: per client (first, beyond)."""
    reader = Reader(update)
    if reader.number():
        raise InvalidUpdate("it has blocks")
    return _deletions(reader)


def clocks(state: bytes) -> dict[int, int]:
    """Return a valid state vector as the next clock of each client."""
    reader = Reader(state)
    return {reader.number(): reader.number() for _ in range(reader.number())}


def _block(reader: Reader) -> int:
    """Read one block; return how many clocks it takes."""
    info = reader.byte()
    kind = info & KIND
    if kind in {GC, SKIP}:
        return _length(reader)
    if info & HAS_LEFT:
        reader.number()
        reader.number(MAX_CLOCK)
    if info & HAS_RIGHT:
        reader.number()
        reader.number(MAX_CLOCK)
    if not info & (HAS_LEFT | HAS_RIGHT):
        if reader.number() != 1 or reader.text() != ROOT:
            raise InvalidUpdate("it is about something other than the text")
        if info & HAS_KEY:
            raise InvalidUpdate("it takes the text for a map")
    return _content(reader, kind)


def _content(reader: Reader, kind: int) -> int:
    if kind == STRING:
        text = reader.text()  # yrs makes empty ones too, where formatting splits a block
        return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
    if kind == DELETED:
        return _length(reader)
    if kind == FORMAT:
        reader.text()
        _json(reader)
        return 1
    if kind == EMBED:
        _json(reader)
        return 1
    raise InvalidUpdate("it holds something that is no text")


def _length(reader: Reader) -> int:
    length = reader.number(MAX_CLOCK)
    if not length:
        raise InvalidUpdate("a length is zero")
    return length


def _json(reader: Reader) -> None:
    value = reader.chunk()
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidUpdate("a value is too large")
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        raise InvalidUpdate("a value is not JSON") from None


def _deletions(reader: Reader) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for _ in range(reader.count(2)):
        client = reader.number()
        ranges = found.setdefault(client, [])
        for _ in range(reader.count(2)):
            first = reader.number(MAX_CLOCK)
            beyond = first + reader.number(MAX_CLOCK)
            if beyond > MAX_CLOCK:
                raise InvalidUpdate("a clock is too large")
            ranges.append((first, beyond))
    return found
