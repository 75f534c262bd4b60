"""Who is in which room, on all processes: a sorted set by last-seen for each room.

A member is a user on one process: their first socket there adds it, the last one takes it out. The
process says every few seconds that its members are still there; those of a process that died are
gone after SILENCE_SECONDS, and the next process to say something about the room notices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from realtime.store import client, keys
from realtime.store.scripts import Call, script

SILENCE_SECONDS = 30.0
MAX_LISTED = 100
CHUNK = 500
Args = tuple[str | int, ...]

SILENCE_MS = int(SILENCE_SECONDS * 1000)


@dataclass(frozen=True, slots=True)
class Present:
    """How many users are in a room, and some of them (id and name), in the order of their names."""

    count: int
    users: tuple[tuple[str, str], ...]


async def touch(room: str, instance: str, users: Mapping[str, str]) -> None:
    """Say that these users (id to name) are in the room on this process.

    Raises StoreUnavailable.
    """
    for part in _chunks(_members(instance, users)):
        args: Args = (keys.presence(room), keys.room(room), SILENCE_MS, *part)
        await client.arun(Call(int, args, script("presence_touch")))


async def drop(room: str, instance: str, users: Mapping[str, str]) -> None:
    """Say that these users are not in the room on this process any more.

    Raises StoreUnavailable.
    """
    for part in _chunks(_members(instance, users)):
        args = (keys.presence(room), keys.room(room), *part)
        await client.arun(Call(int, args, script("presence_drop")))


async def read(room: str) -> Present:
    """Return who is in the room; raises StoreUnavailable."""
    args = (keys.presence(room), SILENCE_MS, MAX_LISTED)
    return await client.arun(Call(_present, args, script("presence_read")))


def _members(instance: str, users: Mapping[str, str]) -> list[str]:
    # NUL separates: ids have none, and the name, which might, comes last.
    return [f"{user_id}\0{instance}\0{name}" for user_id, name in users.items()]


def _chunks(members: list[str]) -> list[list[str]]:
    return [members[at : at + CHUNK] for at in range(0, len(members), CHUNK)]


def _present(reply: Any) -> Present:
    count, flat = reply
    return Present(
        int(count), tuple(sorted(zip(flat[::2], flat[1::2], strict=True), key=lambda user: user[1]))
    )
