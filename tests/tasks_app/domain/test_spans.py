from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks_app.domain.records import Task
from tasks_app.domain.spans import age, duration, span, words
from tasks_app.domain.states import TaskState

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 ms"),
        (0.0042, "4 ms"),
        (1, "1.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86399, "23 h 59 min"),
        (86400, "1 d 0 h"),
        (400 * 86400, "400 d 0 h"),
    ],
)
def test_a_span_is_said_in_two_units_at_most(seconds: float, said: str) -> None:
    assert span(seconds) == said


def task(**times: datetime) -> Task:
    return Task(id="a", name="n", queue="q", status=TaskState.QUEUED, seq=1, **times)


def test_a_task_that_never_started_has_no_duration() -> None:
    assert words(duration(task(created_at=NOW), NOW)) == ""
    assert words(age(task(), NOW)) == ""


def test_a_duration_ends_with_the_task_or_now() -> None:
    begun = NOW - timedelta(seconds=30)
    assert words(duration(task(started_at=begun), NOW)) == "30 s"
    ended = begun + timedelta(seconds=2)
    assert words(duration(task(started_at=begun, finished_at=ended), NOW)) == "2.0 s"
    assert words(age(task(created_at=begun), NOW)) == "30 s"
