"""When a periodic job is due: every so many seconds, or at the moments that a cron line names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim, CronSimError

from tasks_app.errors import InvalidPeriodic

CRON_FIELDS = 5
# Far enough before the present that no change of the clock lies between it and what is looked for.
LOOK_BACK = timedelta(hours=4)
SOME_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Exactly one of `every` (seconds) and `cron` (five fields); refuses what can never be due."""

    every: float | None = None
    cron: str | None = None

    def __post_init__(self) -> None:
        if (self.every is None) == (self.cron is None):
            raise InvalidPeriodic("Give a periodic job either every=SECONDS or cron='…'.")
        if self.every is not None and not (self.every > 0 and math.isfinite(self.every)):
            raise InvalidPeriodic(f"every is a number of seconds above 0, not {self.every!r}.")
        if self.cron is not None:
            _check(self.cron)

    @property
    def period_ms(self) -> int | None:
        """The length of a period in milliseconds; None for cron, whose periods differ."""
        return None if self.every is None else max(1, round(self.every * 1000))

    def around(self, now_ms: int, zone: tzinfo) -> tuple[int, int]:
        """Return the cron line's last moment up to now, and the first one after it, in ms.

        The line is read in `zone` as Debian's cron would: a moment that a change of the clock
        leaves out comes directly after it, one that occurs twice counts the first time, and lines
        with `*` in the minute or the hour follow the real hours.
        """
        if self.cron is None:
            raise TypeError("only a cron line has moments")
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        last = 0
        for moment in _moments(self.cron, now - LOOK_BACK, zone):
            if moment > now_ms:
                return last, moment
            last = moment
        raise InvalidPeriodic(f"{self.cron!r} is never due again.")

    def __str__(self) -> str:
        return f"every {self.every:g} s" if self.every is not None else f"cron {self.cron}"


def _check(line: str) -> None:
    if len(line.split()) != CRON_FIELDS:
        raise InvalidPeriodic(
            f"A cron line has five fields (minute, hour, day, month, weekday), not {line!r}."
        )
    try:
        next(CronSim(line, SOME_MOMENT))
    except CronSimError as error:
        raise InvalidPeriodic(f"{line!r} is no cron line: {error}.") from error
    except StopIteration:
        raise InvalidPeriodic(f"{line!r} is never due.") from None


def _moments(line: str, start: datetime, zone: tzinfo) -> Iterator[int]:
    """Yield the line's moments in ms, from one before `start` on if there is one.

    cronsim computes with what the clock on the wall shows, so within the hour that occurs twice
    it may take the one for the other; going on from well before it, it never does.
    """
    local = start.astimezone(zone)
    before = next(CronSim(line, local, reverse=True), None)
    if before is not None:
        yield _ms(before)
    for moment in CronSim(line, before or local):
        yield _ms(moment)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
