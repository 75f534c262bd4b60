"""The y-websocket protocol's frames: reading what a client sends, building what is sent to it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, NamedTuple

from realtime.documents.schema import InvalidUpdate, Reader, check_state, check_update

SYNC, AWARENESS, AUTH, QUERY_AWARENESS = range(4)
STEP_1, STEP_2, UPDATE = range(3)
PERMISSION_DENIED: Final = 0
MAX_ENTRIES: Final = 1000  # of one awareness frame; a client may repeat what it knows of others
MAX_PRESENCE_BYTES: Final = 16 * 1024  # of one client's presence
EMPTY_UPDATE: Final = b"\0\0"


class MalformedFrame(ValueError):
    """A frame is no frame of the protocol."""


class Kind(IntEnum):
    """What a client wants."""

    MISSING = 0  # to be sent what it lacks, by its state vector
    UPDATE = 1  # to change the document
    PRESENCE = 2  # to say who and where it is
    QUERY = 3  # to be told who is here
    UNKNOWN = 4  # something of a later protocol


class Entry(NamedTuple):
    """One client's presence: a clock that grows, and JSON text; "null" is the end of it."""

    client: int
    clock: int
    state: str

    @property
    def is_gone(self) -> bool:
        return self.state == "null"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was understood."""

    kind: Kind
    body: bytes = b""
    entries: tuple[Entry, ...] = ()
    size: int = 0  # bytes, as it came


UNKNOWN = Frame(Kind.UNKNOWN)
QUERY = Frame(Kind.QUERY)


def parse(data: bytes, user_name: str) -> Frame:
    """Read one frame of a user and check all of it; raises MalformedFrame.

    In presences `user.name`, which editors show beside a cursor, becomes that user's name, whatever
    the client called itself.
    """
    reader = Reader(data)
    try:
        return replace(_parse(reader, user_name), size=len(data))
    except InvalidUpdate as error:
        raise MalformedFrame(str(error)) from error


def _parse(reader: Reader, user_name: str) -> Frame:
    kind = reader.number()
    if kind == SYNC:
        step = reader.number()
        if step > UPDATE:
            return UNKNOWN
        body = reader.chunk()
        reader.end()
        if step == STEP_1:
            check_state(body)
            return Frame(Kind.MISSING, body)
        check_update(body)
        return Frame(Kind.UPDATE, body)
    if kind == AWARENESS:
        body = reader.chunk()
        reader.end()
        return Frame(Kind.PRESENCE, entries=_entries(Reader(body), user_name))
    if kind == QUERY_AWARENESS:
        reader.end()
        return QUERY
    return UNKNOWN


def _entries(reader: Reader, user_name: str) -> tuple[Entry, ...]:
    count = reader.count(3)
    if count > MAX_ENTRIES:
        raise MalformedFrame("it has too many clients")
    found = tuple(
        Entry(reader.number(), reader.number(), _presence(reader, user_name)) for _ in range(count)
    )
    reader.end()
    return found


def _presence(reader: Reader, user_name: str) -> str:
    text = reader.text()
    if len(text) > MAX_PRESENCE_BYTES:
        raise MalformedFrame("a presence is too large")
    try:
        state = json.loads(text, parse_constant=_refuse)
        if not isinstance(state, dict) or not isinstance(state.get("user"), dict):
            return "null" if state is None else text
        state["user"]["name"] = user_name
        # Not every number that can be read can be written: 1e999 is infinite.
        return json.dumps(state, allow_nan=False)
    except (ValueError, RecursionError):
        raise MalformedFrame("a presence is not JSON") from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def step_1(state: bytes) -> bytes:
    """Ask a client for what this state vector lacks."""
    return bytes((SYNC, STEP_1)) + sized(state)


def step_2(update: bytes) -> bytes:
    """Answer a client's step 1."""
    return bytes((SYNC, STEP_2)) + sized(update)


def update(update: bytes) -> bytes:
    """Tell a client what was changed."""
    return bytes((SYNC, UPDATE)) + sized(update)


def presence(entries: Iterable[Entry]) -> bytes:
    """Tell a client who is where."""
    parts = [number(entry.client) + number(entry.clock) + _text(entry.state) for entry in entries]
    return bytes((AWARENESS,)) + sized(number(len(parts)) + b"".join(parts))


def denied(reason: str) -> bytes:
    """Tell a client that something was refused; stock clients write the reason to their log."""
    return bytes((AUTH, PERMISSION_DENIED)) + _text(reason)


def _text(text: str) -> bytes:
    return sized(text.encode())


def sized(data: bytes) -> bytes:
    return number(len(data)) + data


def number(value: int) -> bytes:
    """Write a number as lib0 does: seven bits a byte, the lowest first."""
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004 what seven bits hold
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
