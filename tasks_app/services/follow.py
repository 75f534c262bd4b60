"""Follows a task's output from any process: no gap, no repeat, and its end."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from tasks_app.domain.records import Event, Task
from tasks_app.errors import TaskNotFound
from tasks_app.services import inspect
from tasks_app.store import client, keys, scripts
from tasks_app.store.scripts import Snapshot
from tasks_app.store.subscriptions import Inbox, subscriptions

EVENT_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})\Z")
LARGEST_ID_PART = 2**64 - 1  # Redis refuses larger ones
RECHECK_SECONDS = 10.0  # the net under a lost message; normally nothing waits for it
PAGE = 100  # events read at once, and held until a slow client has taken them


async def follow(task_id: str, last_event_id: str | None = None) -> AsyncGenerator[Event]:
    """Yield the task's events after `last_event_id` (None: all) up to its `end`.

    Subscribes first, reads what is kept, then drops what it already has: no event is lost or
    yielded twice. Where the id is not known any more one `snapshot` replaces what came before.
    Use it with `contextlib.aclosing`, so that the subscription ends with the reader. Raises
    TaskNotFound (also when the task is removed meanwhile) and StoreUnavailable.
    """
    if not inspect.VALID_ID.match(task_id):
        raise TaskNotFound
    reader = EventReader(task_id, last_event_id)
    async with subscriptions().inbox(keys.current().events(task_id)) as inbox:
        while not reader.is_over:
            for part in (reader.kept(), reader.arriving(inbox)):
                async with aclosing(part) as events:
                    async for event in events:
                        yield event


class EventReader:
    """Where one reader of a task's output is, and whether it has seen the end.

    `position` is the id of the last event it was given; "" before the first.
    """

    def __init__(self, task_id: str, last_event_id: str | None) -> None:
        self.task_id = task_id
        self.position: str = last_event_id or ""
        if self.position and not _is_event_id(self.position):
            self.position = "?"
        self.is_over = False

    async def kept(self) -> AsyncGenerator[Event]:
        """Yield what Redis keeps after the position, page by page.

        As with `follow`, a `snapshot` comes first where the position is not known any more. Raises
        TaskNotFound and StoreUnavailable.
        """
        prefix = keys.current().prefix
        while not self.is_over:
            call = scripts.read(prefix, task_id=self.task_id, last=self.position, limit=PAGE)
            batch = await client.arun(call)
            if batch is None:
                raise TaskNotFound
            if batch.snapshot is not None:
                if batch.snapshot.id == self.position or not batch.snapshot.id:
                    self.is_over = batch.finished  # a damaged record: there is nothing to go on by
                    return
                self.position = batch.snapshot.id
                yield _snapshot(batch.snapshot)
                continue
            for event_id, kind, data in batch.entries:
                yield await self._event(event_id, kind, json.loads(data) if data else None)
            if len(batch.entries) < PAGE:
                # A finished task whose end is not among the entries: the reader had it before.
                self.is_over = batch.finished
                return

    async def arriving(self, inbox: Inbox) -> AsyncGenerator[Event]:
        """Yield published events as long as each follows its predecessor; return at a gap."""
        while not self.is_over:
            message = await inbox.get(RECHECK_SECONDS)
            if message is None:
                return
            raw: dict[str, Any] = json.loads(message)
            if event_order(raw["id"]) <= event_order(self.position):
                continue
            if raw["prev"] != self.position:
                return
            yield await self._event(raw["id"], raw["type"], raw["data"])

    async def _event(self, event_id: str, kind: str, data: Any) -> Event:
        self.position = event_id
        if kind != "end":
            return Event(id=event_id, type=kind, data=data)
        self.is_over = True
        task = await inspect.get_task(self.task_id)
        return Event(
            id=event_id,
            type="end",
            data={
                "status": task.status.value,
                "result": task.result,
                "error": task.error,
                "stopped_by": task.stopped_by,
                "reason": task.reason,
            },
        )


def _is_event_id(text: str) -> bool:
    parts = EVENT_ID.match(text)
    return parts is not None and all(int(part) <= LARGEST_ID_PART for part in parts.groups())


def event_order(event_id: str) -> tuple[int, int]:
    """Return what event ids are compared by; below all of them for what is no id."""
    if not EVENT_ID.match(event_id):
        return (-1, -1)
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number)


def _snapshot(kept: Snapshot) -> Event:
    data = {"status": kept.status, "attempt": kept.attempt, "text": kept.text}
    return Event(id=kept.id, type="snapshot", data=data)


async def wait_task(task_id: str, timeout: float) -> Task:  # noqa: ASYNC109 a public deadline
    """Return the task once it has finished, or as it is after `timeout` seconds.

    Raises TaskNotFound and StoreUnavailable.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    async with subscriptions().inbox(keys.current().events(task_id)) as inbox:
        while True:
            task = await inspect.get_task(task_id)
            if task.is_finished or loop.time() >= deadline:
                return task
            await _end_or_gap(inbox, deadline)


async def _end_or_gap(inbox: Inbox, deadline: float) -> None:
    """Return when something says that the task may have ended, or at the deadline."""
    loop = asyncio.get_running_loop()
    while (left := deadline - loop.time()) > 0:
        message = await inbox.get(min(left, RECHECK_SECONDS))
        if message is None or '"type":"end"' in message:
            return
