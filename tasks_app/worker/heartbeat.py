"""The heartbeat of a process: renews its leases, learns of stops and losses, reaps the dead."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Generic, TypeVar

from tasks_app import conf
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys, scripts
from tasks_app.store.scripts import Call, LeaseCode
from tasks_app.worker.attempt import Held, Purpose

H = TypeVar("H", bound=Held)

log = logging.getLogger(__name__)

# After Redis was away, every worker gets this long to renew its leases before anyone reaps them.
STEADY_SECONDS = 3.0
RENEWED_TOGETHER = 500  # by one script: Redis does nothing else meanwhile


class Heartbeat(Generic[H]):
    """Beats once a second, or at once when kicked; one round trip a beat.

    `instance` is a worker's name; "" stands for a process that only has coroutines of its own: it
    is counted among no workers, and without any coroutine it leaves Redis alone.
    """

    def __init__(
        self,
        instance: str,
        attempts: Mapping[str, H],
        cancel: Callable[[H, Purpose], None],
        facts: Callable[[], str] = str,
    ) -> None:
        self._instance = instance
        self._attempts = attempts
        self._cancel = cancel
        self._facts = facts
        self._kicked = asyncio.Event()
        self._in_contact_since: float | None = None
        self._last_beat = time.monotonic()

    def kick(self) -> None:
        self._kicked.set()

    async def run(self) -> None:
        while True:
            self._kicked.clear()
            try:
                await self._beat()
            except StoreUnavailable as error:
                if self._in_contact_since is not None:
                    log.warning("heartbeat_failed error=%s", error)
                self._in_contact_since = None
            try:
                async with asyncio.timeout(conf.HEARTBEAT_SECONDS):
                    await self._kicked.wait()
            except TimeoutError:
                pass

    async def _beat(self) -> None:
        if not self._instance and not self._attempts:
            self._in_contact_since = None  # Redis may be away meanwhile, and nobody would notice
            return
        # An attempt that has an outcome is being settled; its lease may end at any moment.
        now = time.monotonic()
        if now - self._last_beat > 2 * STEADY_SECONDS:
            # This process was paused, perhaps with its whole machine and all the others on it.
            self._in_contact_since = None
        self._last_beat = now
        held = [
            a for a in self._attempts.values() if a.purpose is not Purpose.LOST and not a.settled
        ]
        renewals = self._renewals(held)
        replies = await client.arun_all([*renewals, *self._recovery()])
        if self._in_contact_since is None:
            self._in_contact_since = time.monotonic()
        codes = chain.from_iterable(replies[: len(renewals)])
        for attempt, code in zip(held, codes, strict=True):
            self._learn(attempt, code)
        done = replies[len(renewals) :]
        for task_id, status in done[0] if done else ():
            log.warning("lease_reaped task_id=%s status=%s", task_id, status)

    def _renewals(self, held: list[H]) -> list[Call[list[LeaseCode]]]:
        prefix, lease = keys.current().prefix, conf.lease_seconds()
        starts = range(0, max(1, len(held)), RENEWED_TOGETHER)  # also without leases it is alive
        return [
            scripts.renew(
                prefix,
                instance=self._instance,
                lease=lease,
                leases=[one.lease for one in held[start : start + RENEWED_TOGETHER]],
                facts="" if start else self._facts(),
            )
            for start in starts
        ]

    def _recovery(self) -> list[Call[Any]]:
        # Every worker reaps, with every beat and without a lock: the script is atomic, so nothing
        # is reaped twice, and no worker's death makes the others wait for a lock to expire.
        now = time.monotonic()
        if self._in_contact_since is None or now - self._in_contact_since < STEADY_SECONDS:
            return []
        return [scripts.reap(keys.current().prefix, lease=conf.lease_seconds())]

    def _learn(self, attempt: H, code: LeaseCode) -> None:
        if attempt.outcome is not None:
            return
        if code is LeaseCode.STOP_REQUESTED:
            self._cancel(attempt, Purpose.STOP)
        elif code is LeaseCode.LOST:
            log.warning("lease_lost task_id=%s", attempt.lease[0])
            self._cancel(attempt, Purpose.LOST)
