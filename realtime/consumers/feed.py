"""A subscription: one task's events on their way to one socket, none lost and none twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing

from realtime.domain import messages
from realtime.outbox import Outbox
from realtime.rooms.task import Heard, frame_of
from tasks_app import api
from tasks_app.errors import StoreUnavailable, TaskNotFound

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 2.0


class Feed:
    """A socket's place in a task's events, from an event id on, across Redis' absences, to the end.

    While the client reads along, the task's room hands it each event. What it lacks, at the start
    or after a gap or a stall, it reads from Redis by itself, as fast as the client takes it.
    """

    def __init__(
        self, task_id: str, owner_id: str | None, outbox: Outbox, on_over: Callable[[Feed], None]
    ) -> None:
        self.task_id = task_id
        self.owner_id = owner_id
        self.position = ""  # the last event that was sent
        self._outbox = outbox
        self._on_over = on_over
        self._reader: asyncio.Task[None] | None = None
        self._has_started = False
        self._is_behind = False  # something was said while the reader was at work
        self._is_over = False

    def start(self, last_event_id: str | None) -> None:
        self.position = last_event_id or ""
        self._has_started = True
        self.catch_up()

    def hear(self, event: Heard) -> None:
        """Send the event if it is the next one and the client reads; else catch up."""
        if not self._has_started or self._is_over:
            return
        if self._reader is not None:
            self._is_behind = True
        elif event.before == self.position and not self._outbox.is_blocked:
            self._outbox.push(event.message)
            self.position = event.id
            if event.is_end:
                self._end()
        elif api.event_order(event.id) > api.event_order(self.position):
            self.catch_up()

    def catch_up(self) -> None:
        """Read what Redis keeps after the position, again while more was said meanwhile."""
        if self._reader is not None:
            self._is_behind = True
        elif self._has_started and not self._is_over:
            name = f"signalbox-feed-{self.task_id}"
            self._reader = asyncio.create_task(self._read(), name=name)

    async def aclose(self) -> None:
        self._is_over = True
        if self._reader is not None:
            await api.end_owned(self._reader)

    def report(self, code: str, detail: str) -> None:
        """Tell the client that the feed ended before the task did."""
        data = {"code": code, "detail": detail, "task_id": self.task_id}
        self._outbox.push(messages.outgoing(messages.encode("error", data)))

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_over(self)

    async def _read(self) -> None:
        try:
            await self._read_all()
        except TaskNotFound:
            self.report("not_found", "The task has been removed.")
            self._end()
        except Exception:  # the consumer's edge: one feed's failure must not end the socket
            log.exception("feed_failed task_id=%s", self.task_id)
            self.report("unavailable", "The task's events cannot be read.")
            self._end()
        finally:
            self._reader = None

    async def _read_all(self) -> None:
        delay = FIRST_RETRY_SECONDS
        while True:
            self._is_behind = False
            reader = api.EventReader(self.task_id, self.position)
            try:
                async with aclosing(reader.kept()) as events:
                    async for event in events:
                        await self._outbox.put(frame_of(self.task_id, event))
                        self.position = event.id
                        delay = FIRST_RETRY_SECONDS
            except StoreUnavailable:
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_RETRY_SECONDS)
                continue
            if reader.is_over:
                self._end()
                return
            if not self._is_behind:
                return
