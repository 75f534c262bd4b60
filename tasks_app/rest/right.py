"""Whether the caller of a stream may still see it: looked at from time to time, and on a hint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, suppress

from django.db import Error as DatabaseError

from tasks_app import api
from tasks_app.errors import StoreUnavailable
from tasks_app.rest.auth import Caller
from tasks_app.rest.errors import ApiError

RECHECK_SECONDS = 20.0


class Right:
    """A caller's right to follow what `allows` says, for as long as a stream is open."""

    def __init__(self, caller: Caller, allows: Callable[[api.Viewer], bool]) -> None:
        self._caller = caller
        self._allows = allows
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + RECHECK_SECONDS

    def hinted(self, user_id: str | None) -> None:
        """Take the hint that somebody's rights changed; None or "" may mean everybody's."""
        if not user_id or user_id == self._caller.viewer.user_id:
            self._due = 0.0

    async def check(self) -> None:
        """Raise ApiError when the right is gone; most of the time this asks nobody."""
        if self._loop.time() < self._due:
            return
        self._due = self._loop.time() + RECHECK_SECONDS
        with suppress(DatabaseError):  # then nobody can say; the next look will
            viewer = await self._caller.again()
            if viewer is None or not self._allows(viewer):
                raise ApiError(403, "You may no longer see this task.", error_type="revoked")


async def listening(right: Right, frames: AsyncGenerator[str]) -> AsyncGenerator[str]:
    """Yield the frames; meanwhile hints reach the right."""
    async with AsyncExitStack() as stack:
        with suppress(StoreUnavailable):  # then only time tells
            await stack.enter_async_context(api.listen_access(right.hinted))
        await stack.enter_async_context(aclosing(frames))
        async for frame in frames:
            yield frame
