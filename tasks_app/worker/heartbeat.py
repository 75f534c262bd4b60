"""A worker's heartbeat: renews its leases, learns of stops and losses, reaps the dead."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from tasks_app import conf
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys, scripts
from tasks_app.store.scripts import Call, LeaseCode
from tasks_app.worker.attempt import Attempt, Purpose

log = logging.getLogger(__name__)

# After Redis was away, every worker gets this long to renew its leases before anyone reaps them.
STEADY_SECONDS = 3.0


class Heartbeat:
    """Beats once a second, or at once when kicked; one round trip a beat."""

    def __init__(
        self,
        instance: str,
        attempts: dict[str, Attempt],
        cancel: Callable[[Attempt, Purpose], None],
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
        # An attempt that has an outcome is being settled; its lease may end at any moment.
        now = time.monotonic()
        if now - self._last_beat > 2 * STEADY_SECONDS:
            # This process was paused, perhaps with its whole machine and all the others on it.
            self._in_contact_since = None
        self._last_beat = now
        held = [
            a for a in self._attempts.values() if a.purpose is not Purpose.LOST and not a.settled
        ]
        calls: list[Call[Any]] = [
            scripts.renew(
                keys.current().prefix,
                instance=self._instance,
                lease=conf.lease_seconds(),
                leases=[(a.claimed.id, a.claimed.token) for a in held],
                facts=self._facts(),
            ),
            *self._recovery(),
        ]
        replies = await client.arun_all(calls)
        if self._in_contact_since is None:
            self._in_contact_since = time.monotonic()
        for attempt, code in zip(held, replies[0], strict=True):
            self._learn(attempt, code)
        for task_id, status in replies[1] if len(replies) > 1 else ():
            log.warning("lease_reaped task_id=%s status=%s", task_id, status)

    def _recovery(self) -> list[Call[Any]]:
        # Every worker reaps, with every beat and without a lock: the script is atomic, so nothing
        # is reaped twice, and no worker's death makes the others wait for a lock to expire.
        now = time.monotonic()
        if self._in_contact_since is None or now - self._in_contact_since < STEADY_SECONDS:
            return []
        return [scripts.reap(keys.current().prefix, lease=conf.lease_seconds())]

    def _learn(self, attempt: Attempt, code: LeaseCode) -> None:
        if attempt.outcome is not None:
            return
        if code is LeaseCode.STOP_REQUESTED:
            self._cancel(attempt, Purpose.STOP)
        elif code is LeaseCode.LOST:
            log.warning("lease_lost task_id=%s", attempt.claimed.id)
            self._cancel(attempt, Purpose.LOST)
