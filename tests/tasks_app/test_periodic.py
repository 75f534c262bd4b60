"""The decorator: what it registers, and what it refuses when it is made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasks_app import periodic
from tasks_app.domain.schedule import Schedule
from tasks_app.errors import InvalidPeriodic
from tasks_app.periodic_jobs import PeriodicJob, registered_jobs
from tests.support.stack import ROOT


async def plain() -> None: ...


def with_run(run: Any) -> None: ...


async def yielding() -> AsyncIterator[None]:
    yield


def with_more(run: Any, more: int = 0) -> None: ...


def with_another(context: Any) -> None: ...


def job(function: Any, **options: Any) -> PeriodicJob:
    return PeriodicJob(function=function, schedule=Schedule(every=1), **options)


def test_it_registers_the_function_and_leaves_it_as_it_is() -> None:
    from tests.periodic_app import tasks  # noqa: PLC0415 what this test is about

    found = {job.name: job for job in registered_jobs()}["tests.periodic_app.tasks.each_second"]
    assert found.function is tasks.each_second
    assert (found.lock_name, found.wants_run, found.lock_seconds) == ("each-second", True, 2)


def test_a_name_is_registered_once() -> None:
    from tests.periodic_app import tasks  # noqa: PLC0415 what this test is about

    with pytest.raises(InvalidPeriodic, match="already"):
        periodic(every=1)(tasks.each_second)


def test_defaults(settings: Any) -> None:
    settings.CLEANUP_LOCK_SECONDS = 7
    made = job(plain)
    assert made.lock_name == f"periodic:{__name__}.plain"
    assert (made.lock_seconds, made.catch_up, made.timeout, made.wants_run) == (
        7,
        True,
        None,
        False,
    )
    assert job(with_run).wants_run


@pytest.mark.parametrize(
    "function", [yielding, with_more, with_another, len, "text", lambda: None, type("C", (), {})]
)
def test_what_cannot_be_run_is_refused(function: Any) -> None:
    with pytest.raises(InvalidPeriodic):
        job(function)


@pytest.mark.parametrize(
    "options",
    [{"lock": "a b"}, {"lock": "a" * 101}, {"timeout": 0}, {"lock_timeout": float("inf")},
     {"lock_timeout": -1}],
)  # fmt: skip
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidPeriodic):
        job(plain, **options)


@pytest.mark.parametrize("options", [{}, {"every": 1, "cron": "* * * * *"}, {"cron": "soon"}])
def test_a_wrong_schedule_is_refused_at_the_decorator(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidPeriodic):
        periodic(**options)(plain)


def test_importing_the_name_needs_no_app_registry() -> None:
    code = "from tasks_app import periodic; assert callable(periodic); print('fine')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=60
    )
    assert done.stdout.strip() == b"fine"
