"""Says how the engine is doing: what waits and runs, how much is done, who does it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tasks_app import conf
from tasks_app.domain.records import from_ms
from tasks_app.domain.stats import Lag, QueueStats, Stats, WorkerStats
from tasks_app.store import client, keys
from tasks_app.store import stats as store_stats
from tasks_app.store import tasks as store
from tasks_app.store.scripts import Call

MINUTES = (1, 5, 60)  # how far back finished tasks are counted


async def read_stats() -> Stats:
    """Return the counts of this moment, the workers included; one round trip."""
    return _stats(await client.arun_all(_calls()))


def read_stats_sync() -> Stats:
    """Do as `read_stats`, from synchronous code."""
    return _stats(client.run_all(_calls()))


def _calls() -> list[Call[Any]]:
    names = keys.current()
    return [
        store_stats.counts(names.prefix, [minutes * 60_000 for minutes in MINUTES]),
        store.workers(names),
        store.worker_facts(names),
    ]


def _stats(replies: Sequence[Any]) -> Stats:
    counts: store_stats.Counts
    counts, heartbeats, facts = replies
    kept = conf.retention_seconds()
    return Stats(
        queues=tuple(
            QueueStats(name=name, waiting=waiting, oldest_s=_seconds(counts.now - since))
            for name, waiting, since in sorted(counts.queues)
        ),
        scheduled=counts.scheduled,
        held=counts.held,
        running=counts.running,
        canceling=counts.canceling,
        failed=counts.failed,
        finished_per_minute={
            minutes: ended / minutes if minutes * 60 <= kept else None
            for minutes, ended in zip(MINUTES, counts.ended, strict=True)
        },
        workers=tuple(
            _worker(instance, _seconds(counts.now - seen), _facts(facts.get(instance)))
            for instance, seen in sorted(heartbeats)
        ),
    )


def _seconds(ms: int) -> float:
    return max(0, ms) / 1000


def _facts(text: str | None) -> Mapping[str, Any]:
    """Read what a worker says about itself; one of another version may say it differently."""
    try:
        facts = json.loads(text or "{}")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _worker(instance: str, silent_s: float, facts: Mapping[str, Any]) -> WorkerStats:
    try:
        return WorkerStats(
            instance=instance,
            silent_s=silent_s,
            queues=tuple(map(str, facts["queues"])),
            concurrency=int(facts["concurrency"]),
            running=int(facts["running"]),
            pid=int(facts["pid"]),
            started_at=from_ms(int(facts["started"])),
            lag=Lag(**{name: float(ms) for name, ms in facts["lag"].items()}),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError):
        return WorkerStats(instance=instance, silent_s=silent_s)
