"""One run of a periodic job: the function, the renewal of its lock beside it, and its report."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from inspect import iscoroutinefunction

from tasks_app.domain import retry
from tasks_app.domain.codec import clean
from tasks_app.domain.owned import end_owned
from tasks_app.errors import LockLost, StoreUnavailable
from tasks_app.periodic_jobs import PeriodicJob
from tasks_app.store import client, keys
from tasks_app.store import periodic as store
from tasks_app.store.periodic import Holder
from tasks_app.worker.threads import in_thread

log = logging.getLogger(__name__)

RENEW_AGAIN_SECONDS = 0.5
REPORT_AGAIN_SECONDS = 0.2
REPORT_SECONDS = 5.0  # the lock is not renewed meanwhile: it expires by itself


class Purpose(StrEnum):
    """Why the worker cancelled a run."""

    SHUTDOWN = "shutdown"
    LOST = "lost"


class PeriodicRun:
    """Implements domain.periodic.Run for the function; knows why it was cancelled, if it was."""

    def __init__(self, holder: Holder, *, due: int, fence: int, sent_at: float) -> None:
        self.holder = holder
        self.name = holder.job
        self.due = datetime.fromtimestamp(due / 1000, UTC)
        self.fence = fence
        self.purpose: Purpose | None = None
        self.work: asyncio.Task[str] | None = None
        self._interrupted = False
        # Counted from before the call that took or renewed the lock: it expires later than this.
        self._expires = sent_at + holder.timeout

    @property
    def cancelled(self) -> bool:
        return self.purpose is not None or self._interrupted

    async def check(self) -> None:
        if not await self._renew():
            self.cancel(Purpose.LOST)
            raise LockLost

    def check_sync(self) -> None:
        # Without the loop's state: the renewal beside us finds out by itself.
        if not client.run(store.renew(keys.current(), self.holder)):
            raise LockLost

    def cancel(self, purpose: Purpose) -> None:
        if self.purpose is None:
            self.purpose = purpose
            if self.work is not None:
                self.work.cancel()

    def interrupt(self) -> None:
        self._interrupted = True

    async def keep(self) -> None:
        """Renew the lock at a third of its time; when it is lost, cancel the run and return."""
        pause = self.holder.timeout / 3
        while True:
            await asyncio.sleep(min(pause, max(0.0, self._expires - time.monotonic())))
            try:
                async with asyncio.timeout(max(0.0, self._expires - time.monotonic())):
                    is_ours = await self._renew()
                pause = self.holder.timeout / 3
            except (StoreUnavailable, TimeoutError) as error:
                is_ours = time.monotonic() < self._expires
                pause = min(RENEW_AGAIN_SECONDS, pause)
                log.warning("periodic_renew_failed job=%s error=%s", self.name, error)
            if not is_ours:
                log.warning("periodic_lock_lost job=%s lock=%s", self.name, self.holder.lock)
                self.cancel(Purpose.LOST)
                return

    async def _renew(self) -> bool:
        sent_at = time.monotonic()
        is_ours = await client.arun(store.renew(keys.current(), self.holder))
        if is_ours:
            self._expires = sent_at + self.holder.timeout
        return is_ours


def start(job: PeriodicJob, run: PeriodicRun, threads: ThreadPoolExecutor) -> asyncio.Task[None]:
    """Begin the run; the task answered ends when its outcome was reported and its lock released.

    To end it early use `run.cancel`: then its function is waited for, and it is reported.
    """
    run.work = asyncio.create_task(_call(job, run, threads), name=f"signalbox-periodic-{job.name}")
    return asyncio.create_task(_carry_out(run, run.work), name=f"signalbox-carrying-{job.name}")


async def _carry_out(run: PeriodicRun, work: asyncio.Task[str]) -> None:
    keeping = asyncio.create_task(run.keep(), name=f"signalbox-keeping-{run.name}")
    try:
        await asyncio.wait({work})
    finally:  # also when we are cancelled ourselves
        await end_owned(work, keeping)
    # Cancelled before its first step, the function could not say so itself.
    error = _ended_early(run) if work.cancelled() else work.result()
    if error:
        log.warning("periodic_failed job=%s error=%s", run.name, error.partition(":")[0])
    await _report(run, error)


async def _report(run: PeriodicRun, error: str) -> None:
    """Release the lock and keep the figures, trying again for a while."""
    deadline = time.monotonic() + REPORT_SECONDS
    call = store.end(keys.current(), run.holder, error=clean(error))
    while True:
        try:
            await client.arun(call)
        except StoreUnavailable as refused:
            log.warning("periodic_report_failed job=%s error=%s", run.name, refused)
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(REPORT_AGAIN_SECONDS)
        else:
            return


async def _call(job: PeriodicJob, run: PeriodicRun, threads: ThreadPoolExecutor) -> str:
    """Call the function and say what failed; an empty text when nothing did."""
    call = partial(job.function, run) if job.wants_run else job.function
    scope = asyncio.timeout(job.timeout)
    try:
        async with scope:
            if iscoroutinefunction(job.function):
                await call()
            else:
                await in_thread(threads, call, run.interrupt)
    except asyncio.CancelledError:
        return _ended_early(run)
    # User code may raise anything, even SystemExit, which would end the loop; the worker goes on.
    except BaseException as error:
        if scope.expired() and isinstance(error, TimeoutError):
            return f"TimeoutError: It ran longer than its time-out of {job.timeout:g} s."
        log.info("periodic_raised job=%s", job.name, exc_info=True)
        described = retry.describe(error)
        return f"{described['type']}: {described['message']}"
    # One that swallowed its cancellation says nothing else than one that did not.
    return _ended_early(run) if run.purpose is Purpose.LOST else ""


def _ended_early(run: PeriodicRun) -> str:
    if run.purpose is Purpose.LOST:
        return f"LockLost: {LockLost()}"
    if run.purpose is Purpose.SHUTDOWN:
        return ""  # no failure of the function: its next period runs it again
    return "CancelledError: The job cancelled itself."
