"""The update logs of documents in Redis: appended, read, compacted, trimmed, and their channel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

from realtime.store import document_keys as keys
from tasks_app.store import client
from tasks_app.store.scripts import Call, Script
from tasks_app.store.subscriptions import subscriptions

Listener = Callable[[str | None], None]

LUA = Path(__file__).parent / "lua"
BEGINNING: Final = "0-0"  # an id below all others
LINGER_MS: Final = 15_000  # a head stays so long after everything was saved
MAX_UNSAVED: Final = 1000  # documents that one round of the periodic job looks at


class Refusal(IntEnum):
    """Why nothing was appended, or nothing but everything can be read."""

    NO_HEAD = 0  # the keys are gone: everything was saved, or Redis lost it
    LOST = 2  # Redis has less than the caller: it restarted without its file, or failed over
    GAP = 3  # what the caller missed is in the log no more


@dataclass(frozen=True, slots=True)
class Appended:
    """An append's answer; `entries` is the length of the log, `missed` what came before it."""

    id: str
    entries: int
    missed: list[bytes]


@dataclass(frozen=True, slots=True)
class Log:
    """What Redis has of a document; `now` is its clock in ms.

    `is_whole`: snapshot and all entries, not only those after the caller's last one.
    """

    now: int
    last: str
    updates: list[bytes]
    snapshot: str = ""
    is_whole: bool = False

    @property
    def age_seconds(self) -> float:
        """How long ago the last entry was appended."""
        return (self.now - int(self.last.partition("-")[0])) / 1000


@cache
def _script(name: str) -> Script:
    source = "\n".join((LUA / f"document_{part}.lua").read_text() for part in ("prelude", name))
    # Redis names scripts by SHA-1; nothing secret hangs on it.
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def is_before(one: str, other: str) -> bool:
    """Tell whether an entry's id is lower than another's."""
    return _numbers(one) < _numbers(other)


def _numbers(entry_id: str) -> tuple[int, int]:
    ms, _, count = entry_id.partition("-")
    return int(ms), int(count)


async def append(
    document_id: str, update: bytes, *, position: str, sender: str, floor: str = ""
) -> Appended | Refusal:
    """Append an update after `position`, the last entry that the caller has.

    With `floor` it is appended also where there is no head, or an older one, with an id above
    that. Raises StoreUnavailable; then it may have been appended: to repeat it does no harm.
    """
    args = (keys.document(document_id), position, floor, update, sender)
    return await client.arun(Call(_appended, args, _script("append"), is_binary=True))


def _appended(reply: list[Any]) -> Appended | Refusal:
    if reply[0] != 1:
        return Refusal(reply[0])
    return Appended(reply[1].decode(), int(reply[2]), reply[3])


async def read(document_id: str, position: str = "") -> Log | Refusal:
    """Read the entries after `position`; all of it without one, or when some are gone."""
    args = (keys.document(document_id), position)
    return await client.arun(Call(_log, args, _script("read"), is_binary=True))


def _log(reply: list[Any]) -> Log | Refusal:
    code, now = reply[0], int(reply[1])
    if code == 1:
        snapshot, data = reply[3].decode(), reply[4]
        updates = [data, *reply[5]] if snapshot else reply[5]
        return Log(now, reply[2].decode(), updates, snapshot, is_whole=True)
    if code == 2:  # noqa: PLR2004 as the script says
        return Log(now, reply[2].decode(), reply[3])
    return Refusal(code)


async def compact(document_id: str, log: Log, snapshot: bytes) -> bool:
    """Put a snapshot in the place of a whole log as it was read; False when that is outdated."""
    args = (keys.document(document_id), log.snapshot, log.last, snapshot)
    return await client.arun(Call(bool, args, _script("compact"), is_binary=True))


async def trim(document_id: str, saved: str) -> int:
    """Remove the entries up to that id, which the database has; return how many are left."""
    args = (keys.document(document_id), saved, LINGER_MS)
    return await client.arun(Call(int, args, _script("trim")))


def drop_sync(document_id: str) -> None:
    """Remove everything of a deleted document, and tell the processes that have it open."""
    client.run(Call(int, (keys.document(document_id),), _script("drop")))


async def drop(document_id: str) -> None:
    """Do the same."""
    await client.arun(Call(int, (keys.document(document_id),), _script("drop")))


async def note_unsaved(document_id: str) -> None:
    """Let the periodic job look after a document, before something is appended to its log."""
    await client.arun(Call(int, ("SADD", keys.unsaved(), document_id)))


async def note_saved(document_id: str) -> None:
    await client.arun(Call(int, ("SREM", keys.unsaved(), document_id)))


async def unsaved() -> list[str]:
    """Return documents that may have something in their logs, at most MAX_UNSAVED."""
    call = Call(list[str], ("SRANDMEMBER", keys.unsaved(), MAX_UNSAVED))
    return await client.arun(call)


def listen(document_id: str, listener: Listener) -> AbstractAsyncContextManager[None]:
    """Call `listener` with each message about a document; None means that some were missed."""
    return subscriptions().listening(keys.document(document_id), listener)


async def publish(document_id: str, sender: str, *, presence: Sequence[Any] | None) -> None:
    """Tell the other processes presences; None asks them for theirs."""
    message = {"from": sender, "presence": presence}
    call = Call(int, ("PUBLISH", keys.document(document_id), json.dumps(message)))
    await client.arun(call)
