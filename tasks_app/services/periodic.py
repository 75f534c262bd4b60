"""Lists the periodic jobs with what Redis knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.utils.timezone import get_default_timezone

from tasks_app.discovery import load_task_modules
from tasks_app.domain.periodic import JobReport
from tasks_app.domain.records import from_ms
from tasks_app.periodic_jobs import PeriodicJob, registered_jobs
from tasks_app.store import client, keys
from tasks_app.store import periodic as store
from tasks_app.store.periodic import Figures
from tasks_app.store.scripts import Call


def periodic_jobs_sync() -> list[JobReport]:
    """Return every periodic job of the installed apps, by name. Raises StoreUnavailable."""
    load_task_modules()
    return report(registered_jobs())


def report(jobs: Sequence[PeriodicJob]) -> list[JobReport]:
    """Return these jobs' reports, in order, by one round trip."""
    names = keys.current()
    calls: list[Call[Any]] = [store.clock(names)]
    for job in jobs:
        calls += [store.read(names, job.name), store.lock_owner(names, job.lock_name)]
    now, *replies = client.run_all(calls)
    return [
        _report(job, figures or Figures(), owner, now)
        for job, figures, owner in zip(jobs, replies[::2], replies[1::2], strict=True)
    ]


def _report(job: PeriodicJob, figures: Figures, owner: str | None, now: int) -> JobReport:
    return JobReport(
        name=job.name,
        schedule=str(job.schedule),
        lock=job.lock_name,
        catch_up=job.catch_up,
        next_due=_next_due(job, figures, now),
        runs=figures.runs,
        failures=figures.failures,
        # One whose worker died has a token still, but its lock has expired.
        is_running=figures.token is not None and figures.token == owner,
        instance=figures.instance,
        started_at=from_ms(figures.started),
        duration=None if figures.duration is None else figures.duration / 1000,
        error=figures.error,
        failed_at=from_ms(figures.failed),
    )


def _next_due(job: PeriodicJob, figures: Figures, now: int) -> datetime:
    due = figures.next
    if due is None:  # no worker has asked for it yet
        is_cron = job.schedule.period_ms is None
        due = job.schedule.around(now, get_default_timezone())[1] if is_cron else now
    return datetime.fromtimestamp(due / 1000, UTC)
