"""One worker: executes what its exchange claims, cancels it when asked, and leaves in order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tasks_app import conf
from tasks_app.domain.metrics import ATTEMPTS
from tasks_app.domain.owned import end_owned
from tasks_app.domain.records import Claimed
from tasks_app.errors import StoreUnavailable
from tasks_app.services import metrics
from tasks_app.store import client, keys
from tasks_app.store import tasks as store
from tasks_app.store.subscriptions import subscriptions
from tasks_app.worker.announce import Announcer
from tasks_app.worker.attempt import Attempt, Ending, Outcome, Purpose
from tasks_app.worker.commands import task_to_stop
from tasks_app.worker.exchange import Exchange
from tasks_app.worker.executor import cancelled, execute, failed, too_late
from tasks_app.worker.heartbeat import Heartbeat
from tasks_app.worker.lag import WorkerFacts
from tasks_app.worker.output import Output

log = logging.getLogger(__name__)

MANY = 32  # attempts of one claim, which are begun in two parts
HOLD_BACK_SECONDS = 0.002
IGNORED_CANCEL_SECONDS = 10.0
HAND_BACK_SECONDS = 5.0
GIVE_UP_SECONDS = 2.0
LISTEN_AGAIN_SECONDS = 1.0  # when Redis was away


def instance_name(name: str = "") -> str:
    """Return a name for this process that no other has: who runs it is shown with each task."""
    return f"{name or socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"


class Worker:
    """Executes tasks of some queues on the running loop, `concurrency` at a time."""

    def __init__(
        self,
        *,
        queues: Sequence[str] = ("default",),
        concurrency: int = 100,
        grace: float = 10.0,
        name: str = "",
    ) -> None:
        self.instance = instance_name(name)
        self.queues = tuple(queues)
        self.concurrency = concurrency
        self.grace = grace
        self._attempts: dict[str, Attempt] = {}  # by lease token
        self._held_back: list[Attempt] = []  # claimed, and begun in a moment
        self._idle = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._free_threads = conf.thread_pool_size()
        self._threads = ThreadPoolExecutor(self._free_threads, "signalbox-sync-task")
        self._running = 0  # functions that have not returned; what only waits to be settled is free
        self._draining = False
        self._exchange = Exchange(
            instance=self.instance,
            queues=self.queues,
            slots=self._slots,
            threads=lambda: self._free_threads,
            start=self._start,
            sent=self._begin_held_back,
            lost=lambda attempt: self._cancel(attempt, Purpose.LOST),
            over=self._over,
        )
        self._announcer = Announcer(self._lend)
        self._facts = WorkerFacts(self.queues, concurrency, self._attempts)
        self._heartbeat = Heartbeat(self.instance, self._attempts, self._cancel, self._facts.json)

    @property
    def is_leaving_work_behind(self) -> bool:
        """Whether functions still run that ignored their cancellation.

        Only the process's end ends them: it must come at once, for their tasks were handed back,
        or, where a thread runs them, begin again when their leases are over.
        """
        return self._running > 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish or hand back what runs, within `grace`.

        Survives Redis being away. Returns when every attempt has been settled or handed back,
        or when Redis did not take that within the deadlines (the leases then expire).
        """
        await self._listen(stopping)
        exchange = asyncio.create_task(self._exchange.run(), name="signalbox-exchange")
        heartbeat = asyncio.create_task(self._heartbeat.run(), name="signalbox-heartbeat")
        lag = asyncio.create_task(self._facts.lag.run(), name="signalbox-lag")
        figures = asyncio.create_task(metrics.keep_handing_on(), name="signalbox-metrics")
        ending = asyncio.create_task(stopping.wait(), name="signalbox-stopping")
        try:
            await asyncio.wait({exchange, heartbeat, ending}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(exchange)
        finally:
            await self._announcer.drain(GIVE_UP_SECONDS)
            # The heartbeat goes last, so that no lease is lost while the rest is written.
            await end_owned(ending, lag, exchange, figures, heartbeat)
            owned = (exchange, heartbeat, lag, figures, ending)
            results = await asyncio.gather(*owned, return_exceptions=True)
            await self._leave()
        for result in results:
            if isinstance(result, Exception):
                raise result

    # --- notices -------------------------------------------------------------------------------

    async def _listen(self, stopping: asyncio.Event) -> None:
        names = keys.current()
        for channel, listener in (
            (names.name("commands"), self._command),
            (names.name("wake"), self._notice),
        ):
            while not stopping.is_set():
                try:
                    await subscriptions().add(channel, listener)
                    break
                except StoreUnavailable:
                    log.warning("redis_unavailable waiting=1s")
                    await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    def _command(self, message: str | None) -> None:
        if message is None:  # commands may have been missed: the heartbeat reads the state
            self._heartbeat.kick()
            return
        task_id = task_to_stop(message)
        for attempt in list(self._attempts.values()):
            if attempt.claimed.id == task_id:
                self._cancel(attempt, Purpose.STOP)

    def _notice(self, queue: str | None) -> None:
        if queue is None or queue in self.queues:
            self._exchange.notice()

    # --- attempts ------------------------------------------------------------------------------

    def _slots(self) -> int:
        return 0 if self._draining else self.concurrency - self._running

    def _start(self, claims: Sequence[Claimed]) -> None:
        """Begin what was claimed; of many the half while Redis takes the other half's outcomes.

        Else this process and Redis would take turns: with short tasks that is half the throughput.
        """
        attempts = [self._admitted(one) for one in claims if one.token not in self._attempts]
        first = len(attempts) if len(attempts) < MANY else (len(attempts) + 1) // 2
        for attempt in attempts[:first]:
            self._begin(attempt)
        self._held_back += attempts[first:]
        if self._held_back:  # in case nothing goes out: the first half may take its time
            self._loop.call_later(HOLD_BACK_SECONDS, self._begin_held_back)

    def _begin_held_back(self) -> None:
        attempts, self._held_back = self._held_back, []
        for attempt in attempts:
            self._begin(attempt)

    def _admitted(self, claimed: Claimed) -> Attempt:
        output = Output(lambda: self._exchange.talks(attempt))
        attempt = Attempt(
            claimed=claimed, output=output, on_wait=lambda waits: self._waits(attempt, waits=waits)
        )
        attempt.on_begin = lambda: self._watch(attempt)
        self._attempts[claimed.token] = attempt
        self._running += 1
        self._free_threads -= int(claimed.in_thread)
        return attempt

    def _begin(self, attempt: Attempt) -> None:
        if self._draining:  # what has not begun by then goes back at once
            attempt.cancel(Purpose.RELEASE)
        attempt.task = asyncio.create_task(
            execute(attempt, self._threads), name=f"signalbox-task-{attempt.claimed.id}"
        )
        attempt.task.add_done_callback(lambda done: self._ended(attempt, done))
        if attempt.purpose is not None or attempt.outcome is not None:  # while it was held back
            attempt.task.cancel()

    def _watch(self, attempt: Attempt) -> None:
        """Give up the attempt when it ignores its time-out too long, counted from its begin."""
        if attempt.claimed.timeout is not None and attempt.outcome is None:
            limit = attempt.claimed.timeout + IGNORED_CANCEL_SECONDS
            attempt.overdue = self._loop.call_later(limit, self._overdue, attempt)

    def _waits(self, attempt: Attempt, *, waits: bool) -> None:
        """Lend the slot of a task that waits for others, or all slots could be theirs who wait.

        Once, however often it waits at the same time.
        """
        attempt.waits += 1 if waits else -1
        if attempt.waits == int(waits) and (attempt.task is None or not attempt.task.done()):
            self._lend(waits)

    def _lend(self, is_free: bool) -> None:
        self._running += -1 if is_free else 1
        self._exchange.notice()

    def _ended(self, attempt: Attempt, done: asyncio.Task[Outcome]) -> None:
        self._running -= int(attempt.waits <= 0)  # else its slot is lent already
        if attempt.claimed.in_thread:
            self._free_threads += 1
            if self._free_threads == 1:  # some that need one may have been left to others
                self._exchange.notice()
        for timer in (attempt.give_up, attempt.overdue):
            if timer is not None:
                timer.cancel()
        if attempt.outcome is None:  # else it was given up: what it says now counts no more
            attempt.outcome = _outcome(attempt, done)
        if attempt.settled:
            self._forget(attempt)
        _count(attempt, attempt.outcome.ending)
        log.log(
            logging.DEBUG if attempt.outcome.ending is Ending.SUCCEEDED else logging.INFO,
            "attempt_ended task_id=%s name=%s attempt=%s ending=%s",
            attempt.claimed.id, attempt.claimed.name, attempt.claimed.attempt,
            attempt.outcome.ending.value,
        )  # fmt: skip
        if not attempt.settled:
            self._exchange.ended(attempt)

    def _over(self, attempt: Attempt) -> None:
        """Nothing of it is left to write; a function that goes on keeps its slot."""
        if attempt.is_taken:
            self._announcer.finished(attempt)
        self._idle.set()
        if attempt.task is None or attempt.task.done():
            self._forget(attempt)

    def _forget(self, attempt: Attempt) -> None:
        self._attempts.pop(attempt.claimed.token, None)
        if not self._attempts:
            self._idle.set()

    def _cancel(self, attempt: Attempt, purpose: Purpose) -> None:
        attempt.cancel(purpose)
        if purpose is Purpose.STOP and attempt.give_up is None and attempt.outcome is None:
            attempt.cancel_later(IGNORED_CANCEL_SECONDS, self._give_up)

    def _give_up(self, attempt: Attempt) -> None:
        """Settle a function that ignores its cancellation; it keeps its slot until it returns."""
        self._abandon(attempt, cancelled(attempt))

    def _overdue(self, attempt: Attempt) -> None:
        """Settle a function that ignores its time-out. No retry: it has not returned."""
        self._abandon(attempt, failed(attempt, too_late(attempt.claimed.timeout)))

    def _abandon(self, attempt: Attempt, outcome: Outcome) -> None:
        if attempt.outcome is not None or attempt.purpose is Purpose.LOST:
            return
        log.warning(
            "cancellation_ignored task_id=%s name=%s", attempt.claimed.id, attempt.claimed.name
        )
        attempt.outcome = outcome
        if attempt.task is not None:
            attempt.task.cancel()  # again: a library may have lost the first one
        self._exchange.ended(attempt)

    # --- the end -------------------------------------------------------------------------------

    async def _drain(self, exchange: asyncio.Task[None]) -> None:
        self._draining = True
        await self._until_idle(exchange, self.grace)
        for attempt in list(self._attempts.values()):
            self._cancel(attempt, Purpose.RELEASE)
        await self._until_idle(exchange, HAND_BACK_SECONDS)
        for attempt in list(self._attempts.values()):
            if attempt.in_thread and attempt.purpose is Purpose.RELEASE:
                # Given back, it could begin elsewhere while its thread runs on. If that returns in
                # time, it is settled; else the process's end ends it, and then the lease.
                log.warning("thread_still_runs task_id=%s", attempt.claimed.id)
            else:
                self._give_up(attempt)
        await self._until_idle(exchange, GIVE_UP_SECONDS, settled_is_enough=True)

    async def _until_idle(
        self, exchange: asyncio.Task[None], seconds: float, *, settled_is_enough: bool = False
    ) -> None:
        """Wait until every attempt has left, the exchange died, or the time is over."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not exchange.done():
            if not self._exchange.is_busy and not self._holds(settled_too=not settled_is_enough):
                return
            self._idle.clear()
            waiting = asyncio.ensure_future(self._idle.wait())
            await asyncio.wait(
                {exchange, waiting}, timeout=min(left, 0.1), return_when="FIRST_COMPLETED"
            )
            waiting.cancel()

    def _holds(self, *, settled_too: bool) -> bool:
        return any(
            settled_too or not (a.settled or a.purpose is Purpose.LOST)
            for a in self._attempts.values()
        )

    async def _leave(self) -> None:
        names = keys.current()
        await subscriptions().remove(names.name("commands"), self._command)
        await subscriptions().remove(names.name("wake"), self._notice)
        # Threads that still run are left behind: the process ends, their leases expire.
        self._threads.shutdown(wait=False, cancel_futures=True)
        try:
            await client.arun_all(store.forget_worker(names, self.instance, self.queues))
        except StoreUnavailable:
            log.warning("worker_left_unannounced instance=%s", self.instance)


def _count(attempt: Attempt, ending: Ending) -> None:
    metrics.observe(ATTEMPTS, (attempt.claimed.name, ending.value), attempt.seconds)


def _outcome(attempt: Attempt, done: asyncio.Task[Outcome]) -> Outcome:
    """Return how the attempt ended, also when its own execution broke."""
    if done.cancelled():
        # Before its first step the coroutine could not say so itself.
        return cancelled(attempt)
    error = done.exception()
    return done.result() if error is None else failed(attempt, error)
