"""Loads the Lua scripts and gives each a typed builder: what is sent, and how its reply is read.

A `Call` is built once and executed by the synchronous or the asynchronous runner (client.py), so
there are no twins to keep in step.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from tasks_app.domain.records import Claimed, NewTask
from tasks_app.domain.retry import from_text, to_text
from tasks_app.store.keys import NAMES

T = TypeVar("T")
LUA = Path(__file__).parent / "lua"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua file with the prelude in front of it, and the digest by which Redis knows it."""

    name: str
    source: str
    sha: str


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One round trip's worth of work: a script or a plain command, and the reader of its reply."""

    parse: Callable[[Any], T]
    args: tuple[str | bytes | int | float, ...]
    script: Script | None = None
    # What a key of the wrong type counts as, so that one damaged record cannot stop a list.
    damaged: Callable[[], T] | None = None
    is_binary: bool = False  # the reply's texts are bytes (asynchronous calls only)


class StopCode(IntEnum):
    """What became of a stop request."""

    MISSING = 0
    CANCELED = 1
    CANCELING = 2
    FINISHED = 3


class LeaseCode(IntEnum):
    """What a heartbeat learned about a lease."""

    LOST = 0
    RENEWED = 1
    STOP_REQUESTED = 2


class SettleCode(IntEnum):
    """What became of an attempt's end."""

    REFUSED = 0
    SETTLED = 1
    OUTPUT_MISSING = 2


class PurgeCode(IntEnum):
    """What became of a task that was to be removed."""

    MISSING = 0
    REMOVED = 1
    UNFINISHED = 2


class EnqueueCode(IntEnum):
    """What became of an enqueue."""

    ENQUEUED = 1
    EXISTS = 2  # the same request came before, or the task of its unique key is unfinished
    NO_WORKER = 3
    MERGED = 4  # the waiting task of its debounce key took the arguments


class Enqueued(NamedTuple):
    """An enqueue's answer: what became of it, and the task that stands for it now."""

    code: EnqueueCode
    seq: int
    now: int  # Redis' clock, ms
    id: str
    status: str
    parent: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim's answer: Redis' clock, when the next scheduled task is due (both ms), attempts."""

    now: int
    next_due: int | None
    attempts: list[Claimed]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A task's output so far, standing for every event up to `id`."""

    id: str
    status: str
    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Events read from a stream: `snapshot` is set where the id asked for is not known any more."""

    finished: bool
    entries: list[tuple[str, str, str]]  # id, type, JSON data
    snapshot: Snapshot | None = None


SCRIPTS = (
    "enqueue", "claim", "emit", "settle", "stop", "renew", "reap", "read", "prune",
    "purge", "stats", "register", "announce",
    "lock_acquire", "lock_renew", "lock_release", "mapping_replace",
    "periodic_tick", "periodic_end", "periodic_forget", "clock", "metrics_add", "allowance",
)  # fmt: skip


def engine_scripts() -> list[Script]:
    return [script(name) for name in SCRIPTS]


@cache
def script(name: str) -> Script:
    names = ", ".join(f"{kind} = '{value}'" for kind, value in NAMES.items())
    prelude = (LUA / "_prelude.lua").read_text()
    body = (LUA / f"{name}.lua").read_text()
    source = f"local NAME = {{ {names} }}\n{prelude}\n{body}"
    # Redis names scripts by SHA-1; nothing secret hangs on it.
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _ms(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _moment_ms(moment: datetime | None) -> int | str:
    # in whole numbers: a float's last digits may make it a millisecond too early
    return "" if moment is None else -((EPOCH - moment) // timedelta(milliseconds=1))


def _fields(task: NewTask) -> dict[str, str | int | float]:
    """Return what the record keeps as it was asked for; what is not there needs no room."""
    keys = {
        "unique": task.unique_key,
        "debounce": task.debounce_key,
        "supersede": task.supersede_key,
        "limit_key": task.concurrency_key,
        "parent": task.parent_id,
    }
    fields: dict[str, str | int | float] = {
        "path": task.path,
        "name": task.name,
        "payload": task.payload,
        "queue": task.queue,
        "priority": task.priority,
        "max_deliveries": task.max_deliveries,
    }
    named = {"item": task.item_id, "user": task.user_id, "retried_from": task.retried_from} | keys
    fields |= {name: value for name, value in named.items() if value}
    if task.concurrency_key:
        fields["limit"] = task.concurrency
    if task.timeout is not None:
        fields["timeout"] = task.timeout
    if task.retry is not None:
        fields["retry"] = to_text(task.retry)
    if not task.restartable:
        fields["restartable"] = 0
    if task.backend != "default":
        fields["backend"] = task.backend
    if task.in_thread:
        fields["in_thread"] = 1
    if any(keys.values()) or task.in_thread:
        fields["extra"] = 1
    return fields


def _ms_or_none(seconds: float | None) -> int | str:
    return "" if seconds is None else _ms(seconds)


def enqueue(prefix: str, task: NewTask, *, worker_within: float | None) -> Call[Enqueued]:
    """Build the call that creates a task, or finds the one that stands for it already."""
    args = (
        task.id, _moment_ms(task.run_after), _ms_or_none(task.expires_in),
        _ms_or_none(task.debounce), _ms_or_none(task.max_wait), _ms_or_none(worker_within),
    )  # fmt: skip
    pairs = [part for pair in _fields(task).items() for part in pair]
    return Call(
        lambda r: Enqueued(EnqueueCode(int(r[0])), int(r[1]), int(r[2]), *r[3:]),
        (prefix, *args, *pairs),
        script("enqueue"),
    )


def _claimed(row: Sequence[str]) -> Claimed:
    return Claimed(
        id=row[0],
        path=row[1],
        name=row[2],
        payload=row[3],
        token=row[4],
        attempt=int(row[5]),
        failures=int(row[6]),
        item_id=row[7],
        user_id=row[8],
        timeout=float(row[9]) if row[9] else None,
        backend=row[10] or "default",
        created=int(row[11] or 0),
        past=row[12],
        retry=from_text(row[13]),
        in_thread=bool(row[14]),
    )


def claim(
    prefix: str,
    *,
    instance: str,
    slots: int,
    lease: float,
    queues: Sequence[str],
    number: int = 0,
    threads: int | None = None,
) -> Call[Claim]:
    """Build the call that leases up to `slots` tasks for `lease` seconds.

    At most `threads` of them need a thread (None: as many as there are slots).
    Repeated with the same `number`, because no answer came, it answers what it had leased then.
    """
    free = slots if threads is None else threads
    return Call(
        lambda r: Claim(
            int(r[0]), int(float(r[1])) if r[1] else None, [_claimed(x) for x in r[2:]]
        ),
        (prefix, instance, slots, _ms(lease), number or os.urandom(8).hex(), free, *queues),
        script("claim"),
    )


@dataclass(frozen=True, slots=True)
class Flush:
    """Output of an attempt that is written together; `number` counts the attempt's flushes."""

    number: int
    text: str
    progress: float | None
    message: str
    events: tuple[tuple[str, str], ...]  # type, JSON data


def emit(prefix: str, *, task_id: str, token: str, flush: Flush) -> Call[bool]:
    """Build the call that appends output; False means that the lease is not ours any more."""
    progress = "" if flush.progress is None else flush.progress
    pairs = [part for event in flush.events for part in event]
    head = (task_id, token, flush.number, flush.text, progress, flush.message)
    return Call(bool, (prefix, *head, *pairs), script("emit"))


class Settlement(NamedTuple):
    """The end of an attempt: what the settle script is told; `delay` in seconds, before a retry.

    `fault` is what only operators see of a failure (JSON). Nothing is settled before the attempt's
    flush number `flushed` has been written.
    """

    task_id: str
    token: str
    outcome: str
    result: str = ""
    error: str = ""
    delay: float = 0.0
    flushed: int = 0
    fault: str = ""


def settle_all(prefix: str, settlements: Sequence[Settlement]) -> Call[list[SettleCode]]:
    """Build the call that ends attempts; one code for each, in their order."""
    args = [part for one in settlements for part in one._replace(delay=_ms(one.delay))]
    return Call(
        lambda reply: [SettleCode(int(code)) for code in reply], (prefix, *args), script("settle")
    )


def settle(prefix: str, **fields: Any) -> Call[SettleCode]:
    """Build the call that ends one attempt; `fields` are a Settlement's."""
    call = settle_all(prefix, [Settlement(**fields)])
    return Call(lambda reply: call.parse(reply)[0], call.args, call.script)


def stop(prefix: str, *, task_id: str, by: str, reason: str) -> Call[StopCode]:
    """Build the call that asks a task, and all that it started, to stop."""
    return Call(lambda r: StopCode(int(r)), (prefix, task_id, by, reason), script("stop"))


def announce(prefix: str, user_id: str) -> Call[int]:
    """Build the call that tells all processes whose rights may have changed."""
    return Call(int, (prefix, user_id), script("announce"))


def renew(
    prefix: str,
    *,
    instance: str,
    lease: float,
    leases: Sequence[tuple[str, str]],
    facts: str = "",
) -> Call[list[LeaseCode]]:
    """Build a heartbeat; one code per lease, in their order.

    `instance` "" is no worker's; `facts` is JSON about a worker, kept as long as it is heard of.
    """
    pairs = [part for lease_pair in leases for part in lease_pair]
    return Call(
        lambda r: [LeaseCode(int(code)) for code in r],
        (prefix, instance, _ms(lease), facts, *pairs),
        script("renew"),
    )


def reap(prefix: str, *, lease: float, limit: int = 500) -> Call[list[tuple[str, str]]]:
    """Build the call that settles expired leases; answers (task id, new status) pairs."""
    return Call(
        lambda r: list(zip(r[::2], r[1::2], strict=True)),
        (prefix, _ms(lease), limit),
        script("reap"),
    )


def prune(prefix: str, *, retention: float, limit: int = 500) -> Call[int]:
    """Build the call that removes tasks finished more than `retention` seconds ago."""
    return Call(int, (prefix, _ms(retention), limit), script("prune"))


def purge(prefix: str, *, task_ids: Sequence[str]) -> Call[list[PurgeCode]]:
    """Build the call that removes those of the tasks that are finished; one code per id."""
    return Call(
        lambda r: [PurgeCode(int(code)) for code in r], (prefix, *task_ids), script("purge")
    )


def age(prefix: str, *, seconds: float) -> Call[int]:
    """Build the call that makes every task older (tests only); answers how many there are."""
    return Call(int, (prefix, _ms(seconds), ""), script("age"))


def expire_leases(prefix: str) -> Call[int]:
    """Build the call that ends every lease (tests only); answers how many there were."""
    return Call(int, (prefix, 0, "1"), script("age"))


def _batch(reply: list[Any]) -> Batch | None:
    if not int(reply[0]):
        return None
    finished = bool(int(reply[1]))
    if int(reply[0]) == 1:
        entries = []
        for event_id, pairs in reply[2]:
            fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
            entries.append((event_id, fields["t"], fields["d"]))
        return Batch(finished, entries)
    snapshot = Snapshot(reply[2] or "", reply[3], int(reply[4] or 0), reply[5])
    return Batch(finished, [], snapshot)


def read(prefix: str, *, task_id: str, last: str, limit: int = 500) -> Call[Batch | None]:
    """Build the call that reads events after `last`; None when there is no such task."""
    return Call(_batch, (prefix, task_id, last, limit), script("read"), damaged=lambda: None)
