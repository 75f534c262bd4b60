"""The worker's measure of its own event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tasks_app.domain.owned import end_owned
from tasks_app.worker.lag import TICK_SECONDS, TICKS, LagMeter
from tests.support.eventually import eventually


def test_ticks_in_time_are_not_late() -> None:
    meter = LagMeter()
    due = 1.0
    for _ in range(3):
        due = meter.woke(due, due)
    assert due == pytest.approx(1.0 + 3 * TICK_SECONDS)
    assert (meter.read().p50_ms, meter.read().worst_ms) == (0, 0)


def test_a_long_stop_counts_as_every_tick_that_it_missed() -> None:
    meter = LagMeter()
    meter.woke(0.0, 10 * TICK_SECONDS + 0.01)
    assert len(meter._late_s) == 11
    assert meter.read().worst_ms == pytest.approx(510)
    assert meter.read().p50_ms == pytest.approx(260)


def test_only_the_last_minute_counts_and_a_paused_machine_costs_nothing() -> None:
    meter = LagMeter()
    due = meter.woke(0.0, 0.5)
    due = meter.woke(due, 1e9)
    assert due > 1e9
    for _ in range(TICKS):
        due = meter.woke(due, due)
    assert len(meter._late_s) == TICKS
    assert meter.read().worst_ms == 0


def test_nothing_measured_is_no_lag() -> None:
    assert LagMeter().read().worst_ms == 0


async def test_a_loop_that_was_blocked_shows_it() -> None:
    meter = LagMeter()
    measuring = asyncio.create_task(meter.run())
    try:
        await eventually(lambda: asyncio.sleep(0, len(meter._late_s)))
        # The loop stands still for three ticks.
        threading.Event().wait(4 * TICK_SECONDS)
        await eventually(lambda: asyncio.sleep(0, meter.read().worst_ms >= 3 * TICK_SECONDS * 1000))
    finally:
        await end_owned(measuring)
