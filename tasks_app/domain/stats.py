"""What the engine looks like at one moment: its queues, counts and workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """A queue in which something waits, and how long its oldest task has been waiting."""

    name: str
    waiting: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How late an event loop came to its work in the last minute, in milliseconds."""

    p50_ms: float
    p99_ms: float
    worst_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStats:
    """A worker as it described itself with its last heartbeat, `silent_s` seconds ago.

    `running` counts its leases. A worker that has not described itself has only a name.
    """

    instance: str
    silent_s: float
    queues: tuple[str, ...] = ()
    concurrency: int = 0
    running: int = 0
    pid: int = 0
    started_at: datetime | None = None
    lag: Lag | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """All counts of one moment.

    `finished_per_minute` is by minutes looked back; None where tasks are not kept that long.
    """

    queues: tuple[QueueStats, ...]
    scheduled: int
    held: int
    running: int
    canceling: int
    failed: int
    finished_per_minute: dict[int, float | None]
    workers: tuple[WorkerStats, ...]

    def resource(self) -> dict[str, Any]:
        """Return it as JSON values."""
        shown = asdict(self)
        shown["finished_per_minute"] = {
            str(minutes): rate for minutes, rate in self.finished_per_minute.items()
        }
        for worker in shown["workers"]:
            moment: datetime | None = worker["started_at"]
            worker["started_at"] = moment and moment.isoformat().replace("+00:00", "Z")
        return shown
