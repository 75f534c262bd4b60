"""A subscription: one task's events on their way to one socket, none lost and none twice.

One reader per socket and task; issue 5 shares readers among the sockets of a process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from realtime.domain import messages
from realtime.outbox import Outbox
from tasks_app import api
from tasks_app.errors import StoreUnavailable, TaskNotFound

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 2.0


class Feed:
    """Follows a task for a socket from an event id on, across Redis' absences, up to the end."""

    def __init__(
        self, task_id: str, owner_id: str | None, outbox: Outbox, on_over: Callable[[Feed], None]
    ) -> None:
        self.task_id = task_id
        self.owner_id = owner_id
        self._outbox = outbox
        self._on_over = on_over
        self._reader: asyncio.Task[None] | None = None
        self._last: str | None = None

    def start(self, last_event_id: str | None) -> None:
        self._last = last_event_id
        self._reader = asyncio.create_task(self._read(), name=f"signalbox-feed-{self.task_id}")

    async def aclose(self) -> None:
        if self._reader is not None:
            await api.end_owned(self._reader)

    def report(self, code: str, detail: str) -> None:
        """Tell the client that the feed ended before the task did."""
        data = {"code": code, "detail": detail, "task_id": self.task_id}
        self._outbox.push({"type": "websocket.send", "text": messages.encode("error", data)})

    async def _read(self) -> None:
        try:
            await self._read_to_the_end()
        except TaskNotFound:
            self.report("not_found", "The task has been removed.")
        except Exception:  # the consumer's edge: one feed's failure must not end the socket
            log.exception("feed_failed task_id=%s", self.task_id)
            self.report("unavailable", "The task's events cannot be read.")
        finally:
            self._on_over(self)

    async def _read_to_the_end(self) -> None:
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                async with aclosing(self._events()) as events:
                    async for event in events:
                        await self._send(event)
                        delay = FIRST_RETRY_SECONDS
            except StoreUnavailable:
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_RETRY_SECONDS)
            else:
                return

    def _events(self) -> AsyncGenerator[api.Event]:
        return api.follow(self.task_id, self._last)

    async def _send(self, event: api.Event) -> None:
        data = {"task_id": self.task_id, "id": event.id, "type": event.type, "data": event.data}
        text = messages.encode("task:event", data)
        await self._outbox.put({"type": "websocket.send", "text": text})
        self._last = event.id
