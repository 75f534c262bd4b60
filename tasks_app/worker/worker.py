"""One worker: claims tasks, executes attempts, writes what they put out and how they ended.

All writes about attempts go out in one loop, the exchange: output first, then outcomes, then the
next claim, in one round trip. So a token can never arrive after its task's end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tasks_app import conf
from tasks_app.domain.owned import end_owned
from tasks_app.domain.records import Claimed
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys, scripts
from tasks_app.store import tasks as store
from tasks_app.store.scripts import Call, Claim, SettleCode
from tasks_app.store.subscriptions import subscriptions
from tasks_app.worker.announce import Announcer
from tasks_app.worker.attempt import Attempt, Ending, Outcome, Purpose
from tasks_app.worker.executor import cancelled, execute, failed, too_late
from tasks_app.worker.heartbeat import Heartbeat
from tasks_app.worker.output import Output

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0  # the net under a lost notice
IGNORED_CANCEL_SECONDS = 10.0
HAND_BACK_SECONDS = 5.0
GIVE_UP_SECONDS = 2.0
MAX_BACKOFF_SECONDS = 1.0
HOLD_SECONDS = 1.0  # after Redis refused one attempt's write, or a claim

Write = tuple[Call[Any], Callable[[Any], None], Attempt | None]


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
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._threads = ThreadPoolExecutor(conf.thread_pool_size(), "signalbox-sync-task")
        self._running = 0  # functions that have not returned; what only waits to be settled is free
        self._draining = False
        self._claimable = True  # something may be waiting in a queue
        self._claim_number = 1  # of the claim that has no answer yet
        self._claim_failed = False
        self._exchanging = asyncio.Lock()
        self._next_claim = 0.0  # monotonic time of the next claim without a notice
        self._announcer = Announcer(self._waits_for_others)
        self._heartbeat = Heartbeat(self.instance, self._attempts, self._cancel)

    @property
    def is_leaving_work_behind(self) -> bool:
        """Whether functions still run that ignored their cancellation.

        Only the process's end ends them: it must come at once, for their tasks were handed back.
        """
        return self._running > 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish or hand back what runs, within `grace`.

        Survives Redis being away. Returns when every attempt has been settled or handed back,
        or when Redis did not take that within the deadlines (the leases then expire).
        """
        await self._listen(stopping)
        exchange = asyncio.create_task(self._exchange_forever(), name="signalbox-exchange")
        heartbeat = asyncio.create_task(self._heartbeat.run(), name="signalbox-heartbeat")
        ending = asyncio.create_task(stopping.wait(), name="signalbox-stopping")
        try:
            await asyncio.wait({exchange, heartbeat, ending}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(exchange)
        finally:
            await self._announcer.drain(GIVE_UP_SECONDS)
            # The heartbeat goes last, so that no lease is lost while the rest is written.
            await end_owned(ending, exchange, heartbeat)
            results = await asyncio.gather(exchange, heartbeat, ending, return_exceptions=True)
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
                    await asyncio.sleep(MAX_BACKOFF_SECONDS)

    def _command(self, message: str | None) -> None:
        if message is None:  # commands may have been missed: the heartbeat reads the state
            self._heartbeat.kick()
            return
        try:
            command = json.loads(message)
            task_id = str(command["task_id"]) if command["action"] == "stop" else ""
        except (ValueError, KeyError, TypeError):
            log.warning("command_ignored reason=malformed")
            return
        for attempt in list(self._attempts.values()):
            if attempt.claimed.id == task_id:
                self._cancel(attempt, Purpose.STOP)

    def _notice(self, queue: str | None) -> None:
        if queue is None or queue in self.queues:
            self._claimable = True
            self._wake.set()

    def _notify(self) -> None:
        """Wake the exchange, from whatever thread."""
        if threading.get_ident() == self._thread:
            self._wake.set()
        else:
            self._loop.call_soon_threadsafe(self._wake.set)

    # --- attempts ------------------------------------------------------------------------------

    def _start(self, claimed: Claimed) -> None:
        attempt = Attempt(
            claimed=claimed, output=Output(self._notify), on_wait=self._waits_for_others
        )
        self._attempts[claimed.token] = attempt
        self._running += 1
        attempt.task = asyncio.create_task(
            execute(attempt, self._threads), name=f"signalbox-task-{claimed.id}"
        )
        attempt.task.add_done_callback(lambda done: self._ended(attempt, done))
        if claimed.timeout is not None:
            limit = claimed.timeout + IGNORED_CANCEL_SECONDS
            attempt.overdue = self._loop.call_later(limit, self._overdue, attempt)

    def _waits_for_others(self, waits: bool) -> None:
        """Lend the slot of a task that waits for others, or all slots could be theirs who wait."""
        self._running += -1 if waits else 1
        self._claimable = True
        self._wake.set()

    def _ended(self, attempt: Attempt, done: asyncio.Task[Outcome]) -> None:
        self._running -= 1
        for timer in (attempt.give_up, attempt.overdue):
            if timer is not None:
                timer.cancel()
        if attempt.outcome is None:  # else it was given up: what it says now counts no more
            # Cancelled before its first step, the coroutine could not say so itself.
            attempt.outcome = cancelled(attempt) if done.cancelled() else done.result()
        if attempt.settled:
            self._forget(attempt)
        log.log(
            logging.DEBUG if attempt.outcome.ending is Ending.SUCCEEDED else logging.INFO,
            "attempt_ended task_id=%s name=%s attempt=%s ending=%s",
            attempt.claimed.id, attempt.claimed.name, attempt.claimed.attempt,
            attempt.outcome.ending.value,
        )  # fmt: skip
        self._wake.set()

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
        self._wake.set()

    # --- the exchange --------------------------------------------------------------------------

    async def _exchange_forever(self) -> None:
        backoff = 0.05
        while True:
            await self._until_due()
            try:
                async with self._exchanging:
                    await self._exchange()
                backoff = 0.05
            except StoreUnavailable as error:
                log.warning("exchange_failed error=%s", error)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                self._wake.set()

    async def _until_due(self) -> None:
        """Wait for a notice, an ended attempt, output that may go out, or the next due task."""
        now = time.monotonic()
        soonest = math.inf if self._slots() <= 0 else self._next_claim - now
        for attempt in self._attempts.values():
            soonest = min(soonest, attempt.due_in(now))
        if soonest <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(None if soonest == math.inf else soonest):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _slots(self) -> int:
        return 0 if self._draining else self.concurrency - self._running

    async def _exchange(self) -> None:
        self._wake.clear()
        now = time.monotonic()
        work: list[Write] = []
        prefix = keys.current().prefix
        for attempt in list(self._attempts.values()):
            if attempt.due_in(now) <= 0:
                work += self._writes(attempt, prefix)
        slots = self._slots()
        if slots > 0 and (self._claimable or now >= self._next_claim):
            work.append(
                (self._claim(prefix, slots), lambda claim: self._claimed(claim, slots), None)
            )
        if not work:
            return
        try:
            replies = await client.arun_each([call for call, _, _ in work])
        except StoreUnavailable:
            self._claimable = self._claim_failed = True
            raise
        for (_, handle, writer), reply in zip(work, replies, strict=True):
            if isinstance(reply, StoreUnavailable):
                self._refused(writer, reply)
            else:
                handle(reply)

    def _writes(self, attempt: Attempt, prefix: str) -> list[Write]:
        claimed = attempt.claimed
        writes: list[Write] = []
        if attempt.purpose is Purpose.LOST:
            if attempt.outcome is not None:
                self._forget(attempt)
            return writes
        flush = attempt.output.take()
        if flush is not None:
            emit = scripts.emit(prefix, task_id=claimed.id, token=claimed.token, flush=flush)
            writes.append((emit, lambda ours: self._flushed(attempt, ours=ours), attempt))
        outcome = attempt.outcome
        if outcome is not None and not attempt.settled and not attempt.output.has_more:
            settle = scripts.with_fault(outcome.fault, scripts.settle(
                prefix, task_id=claimed.id, token=claimed.token, outcome=outcome.ending.value,
                result=outcome.result, error=outcome.error, delay=outcome.delay,
                flushed=0 if flush is None else flush.number,
            ))  # fmt: skip
            writes.append((settle, lambda code: self._settled(attempt, code), attempt))
        return writes

    def _refused(self, attempt: Attempt | None, error: StoreUnavailable) -> None:
        """Redis answered one call with an error: the others go on, this one waits a little."""
        log.warning(
            "write_refused task_id=%s error=%s", attempt.claimed.id if attempt else "", error
        )
        if attempt is not None:
            attempt.held_until = time.monotonic() + HOLD_SECONDS
        else:
            self._claim_failed = True
            self._next_claim = time.monotonic() + HOLD_SECONDS

    def _claim(self, prefix: str, slots: int) -> Call[Claim]:
        # A notice that comes while the claim is under way must not be forgotten by its answer.
        self._claimable = False
        return scripts.claim(
            prefix, instance=self.instance, slots=slots, lease=conf.lease_seconds(),
            queues=self.queues, number=self._claim_number,
        )  # fmt: skip

    def _claimed(self, claim: Claim, slots: int) -> None:
        self._claim_number += 1
        if len(claim.attempts) == slots or self._claim_failed:  # there may be more
            self._claimable, self._claim_failed = True, False
        wait = POLL_SECONDS
        if claim.next_due is not None:
            wait = min(wait, max(0.0, (claim.next_due - claim.now) / 1000))
        self._next_claim = time.monotonic() + wait
        for claimed in claim.attempts:
            if claimed.token not in self._attempts:
                self._start(claimed)

    def _flushed(self, attempt: Attempt, *, ours: bool) -> None:
        if ours:
            attempt.output.acknowledged()
        else:
            attempt.output.closed = True
            self._cancel(attempt, Purpose.LOST)

    def _settled(self, attempt: Attempt, code: SettleCode) -> None:
        if code is SettleCode.OUTPUT_MISSING:
            return  # its flush failed: both are sent again
        attempt.settled = attempt.output.closed = True
        if code is SettleCode.REFUSED:
            # Settled before (the answer was lost), or taken by another after the lease expired.
            log.info("settle_refused task_id=%s", attempt.claimed.id)
        else:
            self._announcer.finished(attempt)
        self._idle.set()
        if attempt.task is None or attempt.task.done():
            self._forget(attempt)

    # --- the end -------------------------------------------------------------------------------

    async def _drain(self, exchange: asyncio.Task[None]) -> None:
        self._draining = True
        self._wake.set()
        await self._until_idle(exchange, self.grace)
        for attempt in list(self._attempts.values()):
            self._cancel(attempt, Purpose.RELEASE)
        await self._until_idle(exchange, HAND_BACK_SECONDS)
        for attempt in list(self._attempts.values()):
            self._give_up(attempt)
        await self._until_idle(exchange, GIVE_UP_SECONDS, settled_is_enough=True)

    async def _until_idle(
        self, exchange: asyncio.Task[None], seconds: float, *, settled_is_enough: bool = False
    ) -> None:
        """Wait until every attempt has left, the exchange died, or the time is over."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not exchange.done():
            if not self._exchanging.locked() and not self._holds(settled_too=not settled_is_enough):
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
            await client.arun(store.forget_worker(names, self.instance))
        except StoreUnavailable:
            log.warning("worker_left_unannounced instance=%s", self.instance)
