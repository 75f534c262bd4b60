"""Counts what waits, runs and ended: the call, and the reading of its reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks_app.store.scripts import Call, script


class QueueCount(NamedTuple):
    """A queue with tasks in it; `since` is when its oldest began to wait (ms)."""

    name: str
    waiting: int
    since: int


class Counts(NamedTuple):
    """All counts of one moment, `now` (ms); `ended` has one number for each span asked for."""

    now: int
    scheduled: int
    held: int
    running: int
    canceling: int
    failed: int
    ended: list[int]
    queues: list[QueueCount]


def counts(prefix: str, spans_ms: Sequence[int]) -> Call[Counts]:
    """Build the call that counts, with the tasks that ended within each of the spans."""
    return Call(_counts, (prefix, *spans_ms), script("stats"))


def _counts(reply: list[Any]) -> Counts:
    now, scheduled, held, running, canceling, failed = map(int, reply[:6])
    ended, rows = reply[6:]
    queues = [
        QueueCount(str(name), int(waiting), int(since))
        for name, waiting, since in zip(rows[::3], rows[1::3], rows[2::3], strict=True)
    ]
    spans = [int(count) for count in ended]
    return Counts(now, scheduled, held, running, canceling, failed, spans, queues)
