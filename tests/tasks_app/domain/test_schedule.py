"""When periodic jobs are due: cron lines across days and changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_app.domain.schedule import Schedule
from tasks_app.errors import InvalidPeriodic

BERLIN = ZoneInfo("Europe/Berlin")  # summer time: 2026-03-29 01:00 to 2026-10-25 01:00 UTC


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def around(line: str, now: str, zone: ZoneInfo | None = None) -> tuple[str, str]:
    last, following = Schedule(cron=line).around(ms(now), zone or ZoneInfo("UTC"))
    return shown(last), shown(following)


def shown(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%m-%d %H:%M")


@pytest.mark.parametrize(
    ("now", "last", "following"),
    [
        ("2026-11-24 23:58:59.999", "11-24 23:55", "11-25 00:00"),
        ("2026-11-24 23:59:59.999", "11-24 23:55", "11-25 00:00"),
        ("2026-11-25 00:00:00", "11-25 00:00", "11-25 00:05"),
        ("2026-12-31 23:59:59.999", "12-31 23:55", "01-01 00:00"),
    ],
)
def test_a_day_ends_and_the_next_begins(now: str, last: str, following: str) -> None:
    assert around("*/5 * * * *", now) == (last, following)


def test_the_line_is_read_in_its_zone() -> None:
    assert around("0 3 * * *", "2026-11-24 12:00", BERLIN) == ("11-24 02:00", "11-25 02:00")
    assert around("0 3 * * *", "2026-07-24 12:00", BERLIN) == ("07-24 01:00", "07-25 01:00")


def test_a_moment_that_the_clock_leaves_out_comes_directly_after() -> None:
    line = "30 2 * * *"
    assert around(line, "2026-03-29 00:59:59", BERLIN) == ("03-28 01:30", "03-29 01:00")
    assert around(line, "2026-03-29 01:00", BERLIN) == ("03-29 01:00", "03-30 00:30")


@pytest.mark.parametrize("minute", ["00:30", "00:45", "01:00", "01:10", "01:30", "01:59"])
def test_a_moment_that_occurs_twice_counts_once(minute: str) -> None:
    found = around("30 2 * * *", f"2026-10-25 {minute}", BERLIN)
    assert found == ("10-25 00:30", "10-26 01:30")


def test_lines_with_a_star_follow_the_real_hours() -> None:
    assert around("*/30 * * * *", "2026-10-25 00:59", BERLIN) == ("10-25 00:30", "10-25 01:00")
    assert around("*/30 * * * *", "2026-10-25 01:59", BERLIN) == ("10-25 01:30", "10-25 02:00")
    assert around("*/30 * * * *", "2026-03-29 01:10", BERLIN) == ("03-29 01:00", "03-29 01:30")


LINES = ["* * * * *", "*/7 * * * *", "5 4 * * *", "30 2 * * *", "15 */3 * * *", "0 0 1 * *",
         "59 23 31 12 *", "0 2 * * SUN", "0,30 1-3 * * *", "0 0 29 2 *"]  # fmt: skip
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago",
         "Asia/Kathmandu"]  # fmt: skip
NEAR_CHANGES = [ms("2026-03-29 01:00"), ms("2026-10-25 01:00"), ms("2026-11-01 06:00"),
                ms("2026-04-04 15:00"), ms("2026-09-06 04:00")]  # fmt: skip


@given(
    line=st.sampled_from(LINES),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    now=st.one_of(
        st.integers(ms("2024-01-01"), ms("2030-01-01")),
        st.builds(
            lambda change, offset: change + offset,
            st.sampled_from(NEAR_CHANGES),
            st.integers(-8 * 3_600_000, 8 * 3_600_000),
        ),
    ),
)
def test_periods_follow_each_other_without_gap_or_overlap(
    line: str, zone: ZoneInfo, now: int
) -> None:
    schedule = Schedule(cron=line)
    last, following = schedule.around(now, zone)
    assert last <= now < following
    assert schedule.around(last, zone) == (last, following)
    assert schedule.around(following - 1, zone) == (last, following)
    assert schedule.around(following, zone)[0] == following


@pytest.mark.parametrize(
    "given",
    [
        {}, {"every": 1, "cron": "* * * * *"}, {"every": 0}, {"every": -1},
        {"every": float("nan")}, {"every": float("inf")},
        {"cron": ""}, {"cron": "* * * *"}, {"cron": "* * * * * *"}, {"cron": "61 * * * *"},
        {"cron": "@daily"}, {"cron": "0 0 31 2 *"}, {"cron": "x * * * *"},
    ],
)  # fmt: skip
def test_what_can_never_be_due_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(InvalidPeriodic):
        Schedule(**given)  # type: ignore[arg-type] # that is the point
