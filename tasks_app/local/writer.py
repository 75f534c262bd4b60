"""Writes what coroutines need written: registrations and ends, whatever waits in one round trip."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from tasks_app import conf
from tasks_app.errors import StoreUnavailable
from tasks_app.local.coroutine import Coroutine
from tasks_app.store import client, keys, registrations, scripts
from tasks_app.store.registrations import RegisterCode
from tasks_app.store.scripts import Call, SettleCode
from tasks_app.worker.exchange import HOLD_SECONDS, MAX_BACKOFF_SECONDS

log = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 0.05
WRITTEN_TOGETHER = 100


class Writer:
    """An inbox of registrations, each with a caller that waits, and an outbox of ends.

    An end stays in the outbox until Redis has answered it, however long that takes. Both are
    bounded by what this process runs: nothing starts without Redis.
    """

    def __init__(self, instance: str, on_settled: Callable[[Coroutine], None]) -> None:
        self._instance = instance
        self._on_settled = on_settled
        self._inbox: deque[Coroutine] = deque()
        self._outbox: dict[str, Coroutine] = {}  # by lease token
        self._wake = asyncio.Event()

    def register(self, one: Coroutine) -> None:
        """Register it soon: its future gets the answer, or StoreUnavailable."""
        self._inbox.append(one)
        self._wake.set()

    def withdraw(self, one: Coroutine) -> bool:
        """Take a registration back; False when it was sent already."""
        try:
            self._inbox.remove(one)
        except ValueError:
            return False
        return True

    def settle(self, one: Coroutine) -> None:
        """Write its outcome soon, and as often as it takes."""
        self._outbox[one.token] = one
        self._wake.set()

    @property
    def has_unwritten(self) -> bool:
        """Whether an end waits to be written."""
        return bool(self._outbox)

    async def run(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            await self._until_due()
            try:
                await self._exchange()
                backoff = FIRST_BACKOFF_SECONDS
            except StoreUnavailable as error:
                if backoff == FIRST_BACKOFF_SECONDS:  # said once an outage
                    waiting = len(self._outbox)
                    log.warning("coroutines_not_written waiting=%d error=%s", waiting, error)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                self._wake.set()

    async def _until_due(self) -> None:
        try:
            # Without a notice something is due only when Redis refused it before.
            async with asyncio.timeout(HOLD_SECONDS if self._outbox else None):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _exchange(self) -> None:
        self._wake.clear()
        arriving = [self._inbox.popleft() for _ in range(min(WRITTEN_TOGETHER, len(self._inbox)))]
        ending = self._due()
        if self._inbox or len(ending) == WRITTEN_TOGETHER:
            self._wake.set()
        prefix = keys.current().prefix
        calls: list[Call[Any]] = [self._registration(prefix, one) for one in arriving]
        for one in ending:
            calls += _ends(prefix, one)
        if not calls:
            return
        try:
            replies = iter(await client.arun_each(calls))
        except StoreUnavailable as error:
            for one in arriving:
                _answer(one, error)
            raise
        for one in arriving:
            _answer(one, next(replies))
        for one in ending:
            *_, reply = islice(replies, len(_ends(prefix, one)))
            self._settled(one, reply)

    def _due(self) -> list[Coroutine]:
        now = time.monotonic()
        for one in [one for one in self._outbox.values() if one.expires_at <= now]:
            del self._outbox[one.token]
        due = (one for one in self._outbox.values() if one.held_until <= now)
        return list(islice(due, WRITTEN_TOGETHER))

    def _registration(self, prefix: str, one: Coroutine) -> Call[RegisterCode]:
        return registrations.register(
            prefix, task_id=one.task_id, token=one.token, name=one.name, item_id=one.item_id,
            instance=self._instance, lease=conf.lease_seconds(), parent_id=one.parent_id,
        )  # fmt: skip

    def _settled(self, one: Coroutine, reply: SettleCode | StoreUnavailable) -> None:
        if isinstance(reply, StoreUnavailable):  # the others go on, this one waits a little
            log.warning("write_refused task_id=%s error=%s", one.task_id, reply)
            one.held_until = time.monotonic() + HOLD_SECONDS
            return
        if reply is SettleCode.REFUSED:
            # Settled before (the answer was lost), or by a reaper after the lease expired.
            log.info("settle_refused task_id=%s", one.task_id)
        self._outbox.pop(one.token, None)
        one.settled = True
        self._on_settled(one)


def _answer(one: Coroutine, reply: RegisterCode | StoreUnavailable) -> None:
    if one.registered.done():  # nobody waits for it any more
        return
    if isinstance(reply, StoreUnavailable):
        one.registered.set_exception(StoreUnavailable(str(reply)))
    else:
        one.registered.set_result(reply)


def _ends(prefix: str, one: Coroutine) -> list[Call[Any]]:
    """Return the calls that write an end, the settling last.

    Where the system ended it, who and why go first, as for every stop; a stop that was recorded
    before keeps its own.
    """
    calls: list[Call[Any]] = []
    if one.reason:
        calls.append(scripts.stop(prefix, task_id=one.task_id, by="system", reason=one.reason))
    outcome = one.outcome
    assert outcome is not None  # noqa: S101
    calls.append(
        scripts.settle(
            prefix, task_id=one.task_id, token=one.token, outcome=outcome.ending.value,
            result=outcome.result, error=outcome.error,
        )
    )  # fmt: skip
    return calls
