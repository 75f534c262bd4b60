"""Says how long something lasted, in the few words that a list has room for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tasks_app.domain.records import Task

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EXACT_BELOW = 10  # seconds: shorter spans show a tenth


def span(seconds: float) -> str:
    """Return e.g. "4 ms", "1.5 s", "12 s", "3 min 20 s", "5 h 1 min", "2 d 4 h"; never negative."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{int(seconds * 1000)} ms"
    if seconds < EXACT_BELOW:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, unit, below, small in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {small}"
    return f"{whole} s"


def age(task: Task, now: datetime | None = None) -> timedelta | None:
    """Return how long ago the task was enqueued."""
    return (now or datetime.now(UTC)) - task.created_at if task.created_at else None


def duration(task: Task, now: datetime | None = None) -> timedelta | None:
    """Return how long the latest attempt ran, or runs so far; None before the first."""
    if task.started_at is None:
        return None
    return (task.finished_at or now or datetime.now(UTC)) - task.started_at


def words(length: timedelta | None) -> str:
    return "" if length is None else span(length.total_seconds())
