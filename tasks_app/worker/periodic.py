"""A worker's periodic jobs: asks Redis which are due, runs them, and survives whatever fails."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from django.utils.timezone import get_default_timezone

from tasks_app import conf
from tasks_app.domain.owned import end_owned
from tasks_app.errors import StoreUnavailable
from tasks_app.periodic_jobs import PeriodicJob
from tasks_app.store import client, keys
from tasks_app.store import periodic as store
from tasks_app.store.periodic import Holder, Tick, TickCode
from tasks_app.store.scripts import Call
from tasks_app.worker import periodic_run
from tasks_app.worker.periodic_run import PeriodicRun, Purpose

log = logging.getLogger(__name__)

JITTER_SECONDS = 0.05  # so that not all workers ask in the same millisecond
LOCKED_SECONDS = 1.0  # until we ask again for a job whose lock somebody has
LONGEST_SLEEP_SECONDS = 60.0  # Redis' clock may be set, and figures say when a job was last seen
AGAIN_SECONDS = 1.0  # after Redis did not answer
SHORTEST_SLEEP_SECONDS = 0.01
LATE_SECONDS = 10.0  # without catch-up: a moment that passed longer ago was missed
LEAVE_SECONDS = 5.0


def _new_token() -> str:
    return os.urandom(16).hex()


@dataclass(eq=False)
class _Entry:
    """A job in this worker: when to ask for it, and its run while there is one.

    The token stays the same until a call with it was answered: the lost answer may have been
    that the job is ours.
    """

    job: PeriodicJob
    token: str = field(default_factory=_new_token)
    ask_at: float = 0.0  # monotonic
    run: PeriodicRun | None = None
    carrying: asyncio.Task[None] | None = None


class PeriodicService:
    """Runs the jobs in turn with all other workers; one round trip asks for all that are due."""

    def __init__(self, jobs: Sequence[PeriodicJob], *, instance: str) -> None:
        self._instance = instance
        self._entries = [_Entry(job) for job in jobs]
        # A pool of its own: tasks that fill theirs must not keep a clean-up waiting with its lock.
        self._threads = ThreadPoolExecutor(conf.thread_pool_size(), "signalbox-periodic")
        self._wake = asyncio.Event()
        self._clock_ms = 0.0  # Redis' clock minus ours, once it has answered
        self._is_away = False

    @property
    def is_leaving_work_behind(self) -> bool:
        """Whether functions still run that ignored their cancellation."""
        return any(entry.carrying is not None for entry in self._entries)

    async def run(self, stopping: asyncio.Event) -> None:
        """Run jobs until `stopping` is set; then cancel what runs, and release its locks."""
        ending = asyncio.create_task(stopping.wait(), name="signalbox-periodic-stopping")
        ending.add_done_callback(lambda _: self._wake.set())
        try:
            while not stopping.is_set():
                self._wake.clear()
                await self._step()
                await self._until_due()
        finally:
            await end_owned(ending)
            await self._leave()

    async def _step(self) -> None:
        now = time.monotonic()
        asked = [e for e in self._entries if e.carrying is None and e.ask_at <= now]
        if not asked:
            return
        for entry in asked:  # unless the answer says otherwise
            entry.ask_at = now + AGAIN_SECONDS * _spread()
        try:
            await self._ask(asked)
            self._is_away = False
        except StoreUnavailable as error:
            if not self._is_away:
                log.warning("periodic_ask_failed error=%s", error)
            self._is_away = True
        except Exception:  # whatever it was, the clean-ups must go on
            log.exception("periodic_ask_failed")

    async def _ask(self, asked: Sequence[_Entry]) -> None:
        sent_at = time.monotonic()
        asking: list[tuple[_Entry, Holder, Call[Tick]]] = []
        for entry in asked:
            holder = self._holder(entry)
            try:
                asking.append((entry, holder, self._tick(entry.job, holder)))
            except Exception:  # a calendar that cannot be computed must not stop the other jobs
                log.exception("periodic_schedule_failed job=%s", entry.job.name)
        replies = await client.arun_each([call for _, _, call in asking])
        for (entry, holder, _), reply in zip(asking, replies, strict=True):
            if isinstance(reply, StoreUnavailable):
                log.warning("periodic_ask_refused job=%s error=%s", entry.job.name, reply)
            else:
                self._answered(entry, holder, reply, sent_at)

    def _holder(self, entry: _Entry) -> Holder:
        job = entry.job
        return Holder(
            job=job.name, lock=job.lock_name, token=entry.token, timeout=job.lock_seconds,
            instance=self._instance,
        )  # fmt: skip

    def _tick(self, job: PeriodicJob, holder: Holder) -> Call[Tick]:
        period = job.schedule.period_ms
        moments = (0, 0)  # also before Redis' clock is known: the answer tells it
        if period is None and self._clock_ms:
            now = self._clock_ms + time.monotonic() * 1000
            moments = job.schedule.around(int(now), get_default_timezone())
        return store.tick(
            keys.current(), holder, period_ms=period, moments=moments,
            latest_ms=None if job.catch_up else int(LATE_SECONDS * 1000),
        )  # fmt: skip

    def _answered(self, entry: _Entry, holder: Holder, tick: Tick, sent_at: float) -> None:
        now = time.monotonic()
        self._clock_ms = tick.now - now * 1000
        wait = max(0.0, (tick.again - tick.now) / 1000)
        if tick.code is TickCode.GRANTED:
            entry.token = _new_token()
            self._start(entry, PeriodicRun(holder, due=tick.due, fence=tick.fence, sent_at=sent_at))
        elif tick.code is TickCode.LOCKED:
            entry.ask_at = now + min(wait, LOCKED_SECONDS * _spread()) + SHORTEST_SLEEP_SECONDS
        elif tick.code is TickCode.NOT_DUE:
            jitter = random.uniform(0, JITTER_SECONDS)  # noqa: S311 spread, not a secret
            entry.ask_at = now + min(wait, LONGEST_SLEEP_SECONDS) + jitter
        else:
            entry.ask_at = now + SHORTEST_SLEEP_SECONDS

    def _start(self, entry: _Entry, run: PeriodicRun) -> None:
        entry.run = run
        entry.carrying = periodic_run.start(entry.job, run, self._threads)
        entry.carrying.add_done_callback(lambda done: self._ended(entry, done))

    def _ended(self, entry: _Entry, done: asyncio.Task[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("periodic_run_broken job=%s", entry.job.name, exc_info=error)
        entry.run = entry.carrying = None
        for other in self._entries:
            if other.job.lock_name == entry.job.lock_name:
                other.ask_at = 0.0
        self._wake.set()

    async def _until_due(self) -> None:
        idle = [entry.ask_at for entry in self._entries if entry.carrying is None]
        wait = min(idle, default=time.monotonic() + LONGEST_SLEEP_SECONDS) - time.monotonic()
        try:
            async with asyncio.timeout(max(wait, SHORTEST_SLEEP_SECONDS)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _leave(self) -> None:
        for entry in self._entries:
            if entry.run is not None:
                entry.run.cancel(Purpose.SHUTDOWN)
        if left := {entry.carrying for entry in self._entries if entry.carrying is not None}:
            await asyncio.wait(left, timeout=LEAVE_SECONDS)
        # Threads that still run are left behind: the process ends, their locks expire.
        self._threads.shutdown(wait=False, cancel_futures=True)


def _spread() -> float:
    return random.uniform(0.5, 1.0)  # noqa: S311 spread, not a secret
