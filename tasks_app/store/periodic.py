"""Periodic jobs in Redis: builders of the calls, and the decoding of a job's figures."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tasks_app.store.keys import Keys
from tasks_app.store.scripts import Call, script


class TickCode(IntEnum):
    """What became of a worker's question whether a job runs now."""

    NOT_DUE = 0
    GRANTED = 1
    LOCKED = 2
    OUTDATED = 3  # the cron moments that were given do not enclose Redis' now


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who asks for a job, and how: the lock is `token`'s for `timeout` seconds after a renewal."""

    job: str
    lock: str
    token: str
    timeout: float
    instance: str

    @property
    def expiry_ms(self) -> int:
        return math.ceil(self.timeout * 1000)


@dataclass(frozen=True, slots=True)
class Tick:
    """The answer: Redis' clock, when to ask again, the moment a granted run is for (all ms)."""

    code: TickCode
    now: int
    again: int
    due: int
    fence: int


def tick(
    keys: Keys,
    holder: Holder,
    *,
    period_ms: int | None,
    moments: tuple[int, int],
    latest_ms: int | None,
) -> Call[Tick]:
    """Build the call that decides whether the job runs now, and takes its lock if so.

    `moments` are a cron job's last and next one; `latest_ms` limits how late a run may start.
    """
    args = (
        holder.job, holder.lock, holder.token, holder.expiry_ms, holder.instance,
        "" if period_ms is None else period_ms, *moments, "" if latest_ms is None else latest_ms,
    )  # fmt: skip
    return Call(
        lambda r: Tick(TickCode(int(r[0])), *(int(number) for number in r[1:])),
        (keys.prefix, *args),
        script("periodic_tick"),
    )


def renew(keys: Keys, holder: Holder) -> Call[bool]:
    """Build the call that renews the lock; False means that it is not ours any more."""
    args = (holder.lock, holder.token, holder.expiry_ms)
    return Call(lambda r: int(r) == 1, (keys.prefix, *args), script("lock_renew"))


def end(keys: Keys, holder: Holder, *, error: str) -> Call[bool]:
    """Build the call that ends a run; `error` is empty when it did not fail."""
    args = (holder.job, holder.lock, holder.token, error)
    return Call(bool, (keys.prefix, *args), script("periodic_end"))


def forget(keys: Keys, *, unseen: float) -> Call[list[str]]:
    """Build the call that removes jobs nobody asked for in so many seconds; answers their names."""
    return Call(list, (keys.prefix, math.ceil(unseen * 1000)), script("periodic_forget"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What Redis keeps of one job, as it is; moments and the duration in ms."""

    token: str | None = None
    instance: str | None = None
    runs: int = 0
    failures: int = 0
    last: int | None = None
    next: int | None = None
    started: int | None = None
    duration: int | None = None
    failed: int | None = None
    error: str = ""


def read(keys: Keys, job: str) -> Call[Figures | None]:
    """Build the call that reads a job's figures; None when no worker has asked for it yet."""
    return Call(_figures, ("HGET", keys.name("periodic"), job), damaged=lambda: None)


def lock_owner(keys: Keys, lock: str) -> Call[str | None]:
    return Call(lambda r: r, ("GET", keys.name("lock", lock)), damaged=lambda: None)


def clock(keys: Keys) -> Call[int]:
    """Build the call that reads Redis' clock, in ms."""
    return Call(int, (keys.prefix,), script("clock"))


def _figures(text: str | None) -> Figures | None:
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return Figures(
        token=found.get("token"),
        instance=found.get("instance"),
        runs=_number(found.get("runs")) or 0,
        failures=_number(found.get("failures")) or 0,
        error=str(found.get("error", "")),
        **{
            name: _number(found.get(name))
            for name in ("last", "next", "started", "duration", "failed")
        },
    )


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None
