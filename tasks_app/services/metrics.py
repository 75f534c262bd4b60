"""What this process counts, handed on to the sums in Redis that `/metrics` shows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import islice

from tasks_app.domain.metrics import Figure, Reading, Tally, readings
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys
from tasks_app.store import metrics as store

logger = logging.getLogger("signalbox.metrics")

HAND_ON_SECONDS = 2.0
AT_ONCE = 500  # fields in one script
_tally = Tally()


def count(figure: Figure, labels: Sequence[str], number: float = 1) -> None:
    """Add to a counter of this process; the sums have it within HAND_ON_SECONDS."""
    _tally.count(figure, labels, number)


def observe(figure: Figure, labels: Sequence[str], value: float) -> None:
    """Add a value to a histogram of this process."""
    _tally.observe(figure, labels, value)


async def hand_on() -> None:
    """Add what was counted since the last time to the sums in Redis.

    Raises StoreUnavailable and keeps the rest then; what was under way may count twice.
    """
    taken = _tally.take()
    calls = []
    rest = iter(taken.items())
    while part := dict(islice(rest, AT_ONCE)):
        calls.append(store.add(keys.current().prefix, part))
    if not calls:
        return
    try:
        refused = sum(await client.arun_all(calls))
    except BaseException:
        _tally.give_back(taken)
        raise
    if refused:
        logger.warning("metrics_full left_out=%s most=%s", refused, store.MOST_FIELDS)


async def keep_handing_on() -> None:
    """Hand on at intervals, until cancelled; then once more. Its owner is the worker."""
    try:
        while True:
            await asyncio.sleep(HAND_ON_SECONDS)
            await _hand_on()
    finally:
        await _hand_on()


async def _hand_on() -> None:
    try:
        await hand_on()
    except StoreUnavailable as error:
        logger.info("metrics_kept error=%s", error)  # they are handed on with the next ones


async def read_metrics() -> list[Reading]:
    """Return the sums of all processes."""
    return readings(await client.arun(store.read(keys.current())))
