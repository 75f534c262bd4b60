"""Measures how late an event loop comes to its work, and says what a worker is and does."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from tasks_app.domain.codec import dumps
from tasks_app.domain.stats import Lag

TICK_SECONDS = 0.05
TICKS = 1200  # the last minute


class LagMeter:
    """Keeps how late each tick of the last minute was."""

    def __init__(self) -> None:
        self._late_s: deque[float] = deque(maxlen=TICKS)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time() + TICK_SECONDS
        while True:
            await asyncio.sleep(due - loop.time())
            due = self.woke(due, loop.time())

    def woke(self, due: float, now: float) -> float:
        """Record a tick that was due then and is noticed now; return when the next is due.

        A loop that stood still missed every tick of that time, not one: each counts, by its own
        lateness, or long stops would hardly show.
        """
        due = max(due, now - TICK_SECONDS * TICKS)
        while due <= now:
            self._late_s.append(now - due)
            due += TICK_SECONDS
        return due

    def read(self) -> Lag:
        late = sorted(self._late_s) or [0.0]
        return Lag(
            p50_ms=_ms(late[len(late) // 2]),
            p99_ms=_ms(late[min(len(late) - 1, int(len(late) * 0.99))]),
            worst_ms=_ms(late[-1]),
        )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


class WorkerFacts:
    """What a worker tells with each heartbeat: services/stats.py reads it."""

    def __init__(self, queues: Sequence[str], concurrency: int, leases: Mapping[str, Any]) -> None:
        self.lag = LagMeter()
        self._fixed = {
            "queues": list(queues),
            "concurrency": concurrency,
            "pid": os.getpid(),
            "started": int(time.time() * 1000),
        }
        self._leases = leases

    def json(self) -> str:
        lag = self.lag.read()
        measured = {"p50_ms": lag.p50_ms, "p99_ms": lag.p99_ms, "worst_ms": lag.worst_ms}
        return dumps({**self._fixed, "running": len(self._leases), "lag": measured})
