"""The exchange of a worker with Redis: what attempts put out, how they ended, the next claim.

All of it goes through one loop, output first, then outcomes, then the claim, in one round trip:
a token can never arrive after its task's end.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from tasks_app import conf
from tasks_app.domain.records import Claimed
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys, scripts
from tasks_app.store.scripts import Call, Claim, SettleCode, Settlement
from tasks_app.worker.attempt import Attempt, Purpose

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0  # the net under a lost notice
MAX_BACKOFF_SECONDS = 1.0
HOLD_SECONDS = 1.0  # after Redis refused an attempt's write, or a claim
# What goes out in one round trip: more would hold up the loop, and Redis, and other attempts.
AT_ONCE = 100  # attempts
BYTES_AT_ONCE = 4 * 1024 * 1024

Write = tuple[Call[Any], Callable[[Any], None], Sequence[Attempt]]


class Exchange:
    """Writes for attempts that call `talks` and `ended`, and claims as long as there are slots.

    `slots` says how many, `threads` how many of them may need a thread; `start` is called with what
    a claim brought, `sent` while a round trip is under way and this process has nothing to do,
    `lost` when a lease proves to be another's, `over` when nothing of an attempt is left to write.
    """

    def __init__(
        self,
        *,
        instance: str,
        queues: Sequence[str],
        slots: Callable[[], int],
        threads: Callable[[], int],
        start: Callable[[Sequence[Claimed]], None],
        sent: Callable[[], None],
        lost: Callable[[Attempt], None],
        over: Callable[[Attempt], None],
    ) -> None:
        self._instance, self._queues = instance, tuple(queues)
        self._slots, self._threads = slots, threads
        self._start, self._sent, self._lost, self._over = start, sent, lost, over
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._talking: dict[Attempt, None] = {}  # have output to write, in turn
        self._ended: dict[Attempt, None] = {}  # have an outcome to write
        self._wake = asyncio.Event()
        self._claimable = True  # something may be waiting in a queue
        self._claim_number = 1  # of the claim that has no answer yet
        self._claim_failed = False
        self._next_claim = 0.0  # monotonic time of the next claim without a notice
        self._next_output = 0.0  # monotonic time of the next output that may be written
        self._lock = asyncio.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether a round trip is under way."""
        return self._lock.locked()

    def notice(self) -> None:
        """Claim soon: a queue may have something, or a slot is free."""
        self._claimable = True
        self._wake.set()

    def talks(self, attempt: Attempt) -> None:
        """Write what the attempt has put out, within a frame; from whatever thread."""
        if threading.get_ident() == self._thread:
            self._add_talking(attempt)
        else:
            self._loop.call_soon_threadsafe(self._add_talking, attempt)

    def _add_talking(self, attempt: Attempt) -> None:
        if not self._talking:
            self._wake.set()  # else the loop wakes for the others, and takes this one along
        self._talking[attempt] = None

    def ended(self, attempt: Attempt) -> None:
        """Write the attempt's outcome, at once."""
        self._ended[attempt] = None
        self._wake.set()

    async def run(self) -> None:
        backoff = 0.05
        while True:
            await self._until_due()
            try:
                async with self._lock:
                    await self._round_trip()
                backoff = 0.05
            except StoreUnavailable as error:
                log.warning("exchange_failed error=%s", error)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                self._wake.set()

    async def _until_due(self) -> None:
        """Wait for a notice, an outcome, output that may go out, or the next due task."""
        if self._ended:
            await asyncio.sleep(0)
            return
        soonest = self._next_claim if self._slots() > 0 else math.inf
        if self._talking:
            soonest = min(soonest, self._next_output)
        delay = soonest - time.monotonic()
        try:
            async with asyncio.timeout(None if delay == math.inf else max(0.0, delay)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _round_trip(self) -> None:
        self._wake.clear()
        prefix = keys.current().prefix
        work = [*self._writes(prefix), *self._claim(prefix)]
        if not work:
            return
        self._loop.call_soon(self._sent)  # runs once this task waits for the reply
        try:
            replies = await client.arun_each([call for call, _, _ in work])
        except StoreUnavailable:
            self._claimable = self._claim_failed = True
            self._again(attempt for _, _, writers in work for attempt in writers)
            raise
        for (_, handle, writers), reply in zip(work, replies, strict=True):
            if isinstance(reply, StoreUnavailable):
                self._refused(writers, reply)
            else:
                handle(reply)

    # --- output and outcomes ----------------------------------------------------------------------

    def _writes(self, prefix: str) -> list[Write]:
        """Take the output that may go out now, and the outcomes, of some attempts."""
        now = time.monotonic()
        ended = _some(self._ended)
        talking: list[Attempt] = []
        if self._talking and now >= self._next_output:
            talking = [one for one in islice(self._talking, AT_ONCE) if one not in self._ended]
            if len(self._talking) <= AT_ONCE:
                self._next_output = now + conf.FLUSH_SECONDS
        for attempt in (*talking, *ended):
            self._talking.pop(attempt, None)
            self._ended.pop(attempt, None)
        work = [write for one in (*talking, *ended) if (write := self._output(one, prefix))]
        settling: list[Attempt] = []
        for attempt in ended:
            if attempt.purpose is Purpose.LOST:
                self._over(attempt)
            elif attempt.output.has_more:
                self._ended[attempt] = None
            elif attempt.is_refused:
                work.append(self._settle([attempt], prefix))
            else:
                settling.append(attempt)
        if settling:
            work.append(self._settle(settling, prefix))
        return work

    def _output(self, attempt: Attempt, prefix: str) -> Write | None:
        flush = None if attempt.purpose is Purpose.LOST else attempt.output.take()
        if flush is None:
            return None
        claimed = attempt.claimed
        call = scripts.emit(prefix, task_id=claimed.id, token=claimed.token, flush=flush)
        return call, lambda ours: self._written(attempt, ours=ours), (attempt,)

    def _settle(self, attempts: Sequence[Attempt], prefix: str) -> Write:
        settlements = [
            Settlement(
                task_id=attempt.claimed.id,
                token=attempt.claimed.token,
                outcome=outcome.ending.value,
                result=outcome.result,
                error=outcome.error,
                delay=outcome.delay,
                flushed=attempt.output.in_flight,
                fault=outcome.fault,
            )
            for attempt in attempts
            if (outcome := attempt.outcome) is not None
        ]
        call = scripts.settle_all(prefix, settlements)
        return call, lambda codes: self._settled(attempts, codes), attempts

    def _written(self, attempt: Attempt, *, ours: bool) -> None:
        if not ours:
            attempt.output.closed = True
            self._lost(attempt)
            return
        attempt.output.acknowledged()
        if attempt.output.has_more and attempt not in self._ended:
            self._add_talking(attempt)

    def _settled(self, attempts: Sequence[Attempt], codes: Sequence[SettleCode]) -> None:
        for attempt, code in zip(attempts, codes, strict=True):
            if code is SettleCode.OUTPUT_MISSING:
                continue  # its flush was refused: both are sent again after that pause
            if code is SettleCode.REFUSED:
                # Settled before (the answer was lost), or taken after the lease expired.
                log.info("settle_refused task_id=%s", attempt.claimed.id)
            attempt.settled = attempt.output.closed = True
            attempt.is_taken = code is SettleCode.SETTLED
            self._over(attempt)

    def _again(self, attempts: Any) -> None:
        """Write for the attempts once more."""
        for attempt in attempts:
            if attempt.settled:
                continue
            if attempt.outcome is not None:
                self.ended(attempt)
            else:
                self._add_talking(attempt)

    def _refused(self, attempts: Sequence[Attempt], error: StoreUnavailable) -> None:
        """Redis answered one call with an error: the others go on, these wait a little."""
        log.warning(
            "write_refused task_id=%s error=%s", ",".join(a.claimed.id for a in attempts), error
        )
        if not attempts:  # it was the claim
            self._claim_failed = True
            self._next_claim = time.monotonic() + HOLD_SECONDS
            return
        for attempt in attempts:
            attempt.is_refused = True  # whose fault it was shows when each is written alone
        self._loop.call_later(HOLD_SECONDS, self._again, attempts)

    # --- claims -----------------------------------------------------------------------------------

    def _claim(self, prefix: str) -> list[Write]:
        slots, threads = self._slots(), self._threads()
        if slots <= 0 or not (self._claimable or time.monotonic() >= self._next_claim):
            return []
        # A notice that comes while the claim is under way must not be forgotten by its answer.
        self._claimable = False
        call = scripts.claim(
            prefix, instance=self._instance, slots=slots, lease=conf.lease_seconds(),
            queues=self._queues, number=self._claim_number, threads=threads,
        )  # fmt: skip
        return [(call, lambda claim: self._claimed(claim, slots, threads), ())]

    def _claimed(self, claim: Claim, slots: int, threads: int) -> None:
        self._claim_number += 1
        if len(claim.attempts) == slots or self._claim_failed:  # there may be more
            self._claimable, self._claim_failed = True, False
        wait = POLL_SECONDS
        if claim.next_due is not None:
            wait = min(wait, max(0.0, (claim.next_due - claim.now) / 1000))
        self._next_claim = time.monotonic() + wait
        self._start(claim.attempts)
        if sum(one.in_thread for one in claim.attempts) >= threads and self._threads() > 0:
            self.notice()  # it got free meanwhile, and some that need one may have been put aside


def _some(ended: Iterable[Attempt]) -> list[Attempt]:
    """Return the first attempts, as many as may be written together; at least one."""
    taken: list[Attempt] = []
    size = 0
    for attempt in islice(ended, AT_ONCE):
        size += len(attempt.outcome.result) if attempt.outcome is not None else 0
        if taken and size > BYTES_AT_ONCE:
            break
        taken.append(attempt)
    return taken
