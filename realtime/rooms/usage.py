"""The room of everybody who is signed in: which models are in use, told when that changes.

Redis only hints that it may have changed; that a use timed out nobody says. The room reads the
truth on a hint and when the first use may have timed out, at most a few times a second, once for
all its sockets.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress

from realtime.domain import messages
from realtime.domain.limits import USAGE_PAUSE_SECONDS
from realtime.rooms.room import Listener, broadcast
from realtime.scope import Message
from realtime.services import pools
from realtime.store import usage
from tasks_app import api
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)

LATE_SECONDS = 0.005  # by which a use that timed out has surely done so


class UsageRoom:
    """The signed-in sockets of this process; looks while there are any."""

    def __init__(self) -> None:
        self._members: set[Listener] = set()
        self._shown: list[str] = []
        self._changed = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    def join(self, member: Listener) -> None:
        """Add a socket; what is in use now is shown to it, unless that is nothing."""
        self._members.add(member)
        if self._shown:
            member.push(_frame(self._shown))
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="signalbox-usage")

    async def leave(self, member: Listener) -> None:
        """Take a socket out; with the last one the room stops looking."""
        self._members.discard(member)
        if not self._members and self._watcher is not None:
            watcher, self._watcher = self._watcher, None
            self._shown = []
            await api.end_owned(watcher)

    def _hinted(self, _: str | None) -> None:
        self._changed.set()

    async def _watch(self) -> None:
        async with AsyncExitStack() as listening:
            is_listening = False
            while True:
                valid_for: float | None = 0.0
                try:
                    if not is_listening:
                        await listening.enter_async_context(usage.listening(self._hinted))
                        is_listening = True
                    self._changed.clear()
                    valid_for = await self._look()
                except StoreUnavailable:
                    pass
                except Exception:  # the room must not fall silent for good
                    log.exception("usage_room_failed")
                await asyncio.sleep(USAGE_PAUSE_SECONDS)
                await self._wait(valid_for)

    async def _look(self) -> float | None:
        """Read the truth and show it if it is new; return how long it is valid at least."""
        now = await pools.models_in_use()
        if now.model_ids != self._shown:
            self._shown = now.model_ids
            broadcast(tuple(self._members), _frame(now.model_ids))
        return None if now.valid_for is None else now.valid_for + LATE_SECONDS

    async def _wait(self, valid_for: float | None) -> None:
        """Wait for a hint, or until what was read may be outdated (None: it cannot be)."""
        rest = None if valid_for is None else max(0.0, valid_for - USAGE_PAUSE_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(rest):
                await self._changed.wait()


def _frame(model_ids: list[str]) -> Message:
    return messages.outgoing(messages.encode("usage", {"model_ids": model_ids}))
