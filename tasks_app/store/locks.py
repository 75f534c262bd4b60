"""A distributed lock with an owner, an expiry and a fencing number."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import re
import time
from types import TracebackType
from typing import Self

from tasks_app.errors import InvalidName, LockLost, StoreUnavailable
from tasks_app.store import client, keys
from tasks_app.store.scripts import Call, script
from tasks_app.store.subscriptions import Inbox, subscriptions

VALID_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}\Z")
RECHECK_SECONDS = 1.0  # an expired lock announces nothing
RELEASE_SECONDS = 3.0


class RedisLock:
    """At most one owner in the whole cluster; a holder that dies loses it after `timeout` seconds.

    `async with` waits for the lock, renews it every third of its time in a task of its own, and
    releases it; when a renewal fails the block is cancelled and LockLost is raised. An object is
    held once at a time, also by coroutines of one process that share it. `fence` grows
    with every acquisition of any lock: a store that remembers the largest one it has seen can
    refuse a writer who lost the lock without noticing. After a failover to a replica that lagged
    behind, a lock may have two owners and fences may repeat.
    """

    def __init__(self, name: str, timeout: float = 60.0) -> None:
        if not VALID_NAME.match(name):
            raise InvalidName(f"A lock's name is 1 to 100 of A-Z a-z 0-9 _ . : -, not {name!r}.")
        if not timeout > 0 or math.isinf(timeout):
            raise ValueError(f"A lock's timeout is a number of seconds above 0, not {timeout!r}.")
        self.name = name
        self.timeout = timeout
        self.fence = 0
        self._token = ""  # of the acquisition that holds it
        self._renewing: asyncio.Task[None] | None = None

    async def acquire(self, wait: float | None = None) -> bool:
        """Take the lock; answer whether it is ours now.

        `wait` None tries once; a number waits so many seconds at most. Raises StoreUnavailable.
        A cancelled call leaves no lock behind.
        """
        # One for each acquisition: coroutines that share this object exclude each other too.
        token = os.urandom(16).hex()
        try:
            if await self._try(token):
                return True
            deadline = time.monotonic() + (wait or 0.0)
            return wait is not None and wait > 0 and await self._wait(token, deadline)
        except (asyncio.CancelledError, StoreUnavailable):
            # The request may have been executed although its answer never came.
            await self._give_back(token)
            raise

    async def renew(self) -> bool:
        """Let the lock expire `timeout` seconds from now; False when it is not ours any more."""
        renewed = await client.arun(self._call("lock_renew", self._token, self._expiry))
        return renewed == 1

    async def release(self) -> bool:
        """Give the lock back; False when it is not ours any more. Raises StoreUnavailable."""
        self.fence = 0
        return await self._release(self._token)

    async def _release(self, token: str) -> bool:
        released = await client.arun(self._call("lock_release", token))
        return released == 1

    async def __aenter__(self) -> Self:
        await self.acquire(wait=math.inf)
        holder = asyncio.current_task()
        self._renewing = asyncio.create_task(self._keep(holder), name=f"signalbox-lock-{self.name}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        renewing, self._renewing = self._renewing, None
        holder = asyncio.current_task()
        if renewing is None or holder is None:
            return
        if not renewing.done():
            renewing.cancel()
            self.fence = 0
            await self._give_back(self._token)
            return
        # Lost: `_keep` has cancelled us, and that cancellation is ours to take back.
        if kind is None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        if holder.uncancel() == 0 and kind in {None, asyncio.CancelledError}:
            raise LockLost(f"The lock {self.name!r} was lost.") from error
        if kind is None:
            raise asyncio.CancelledError

    async def _keep(self, holder: asyncio.Task[object] | None) -> None:
        """Renew until cancelled; return, with the holder cancelled, once the lock is lost."""
        expires = time.monotonic() + self.timeout
        while True:
            await asyncio.sleep(min(self.timeout / 3, max(0.0, expires - time.monotonic())))
            asked_at = time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, expires - asked_at)):
                    renewed = await self.renew()
            except (StoreUnavailable, TimeoutError):
                renewed = time.monotonic() < expires
            else:
                expires = asked_at + self.timeout if renewed else expires
            if not renewed:
                if holder is not None:
                    holder.cancel()
                return

    async def _try(self, token: str) -> bool:
        fence = await client.arun(self._call("lock_acquire", token, self._expiry))
        if fence > 0:
            self._token, self.fence = token, fence
        return fence > 0

    async def _wait(self, token: str, deadline: float) -> bool:
        channel = keys.current().name("lock", self.name)
        async with subscriptions().inbox(channel) as released:
            while not await self._try(token):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                await self._until_released(released, min(left, RECHECK_SECONDS))
        return True

    async def _until_released(self, released: Inbox, seconds: float) -> None:
        await released.get(seconds * random.uniform(0.5, 1.0))  # noqa: S311 spread, not a secret

    async def _give_back(self, token: str) -> None:
        """Release without fail, also while we are being cancelled; the expiry is the net."""
        giving = asyncio.ensure_future(self._release(token))
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await asyncio.shield(giving)

    @property
    def _expiry(self) -> int:
        return math.ceil(self.timeout * 1000)

    def _call(self, name: str, token: str, *args: int) -> Call[int]:
        return Call(int, (keys.current().prefix, self.name, token, *args), script(name))
