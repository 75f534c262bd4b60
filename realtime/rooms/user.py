"""A user's room: all sockets of one user in this process, which hear of that user's tasks.

Redis only hints that a task changed. The room reads it, once for all its sockets; hints that come
while a read is in flight are merged into the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Protocol

from realtime.domain import messages
from realtime.scope import Message
from tasks_app import api
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)

RESYNC_TASKS = 100  # the user's newest tasks, sent again after hints may have been missed
MAX_PER_READ = 200
RETRY_SECONDS = 0.5


class Listener(Protocol):
    """What a room needs of a socket."""

    def push(self, message: Message) -> None:
        """Send a frame without waiting."""


class UserRoom:
    """The sockets of one user; subscribed while there are any."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self._members: set[Listener] = set()
        self._lock = asyncio.Lock()  # joining and leaving the subscription, one at a time
        self._subscription: contextlib.AsyncExitStack | None = None
        self._changed: dict[str, None] = {}  # ordered: who waited longest is read first
        self._missed = False
        self._unfinished: set[str] = set()  # as last shown to the sockets
        self._reader: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        return len(self._members)

    @property
    def is_empty(self) -> bool:
        return not self._members and not self._lock.locked()

    async def join(self, member: Listener) -> None:
        """Add a socket; once this returns, no later change is missed."""
        self._members.add(member)
        async with self._lock:
            if self._subscription is None:
                stack = contextlib.AsyncExitStack()
                await stack.enter_async_context(api.listen_user(self.user_id, self._hinted))
                self._subscription = stack

    async def leave(self, member: Listener) -> None:
        """Take a socket out; the last one gives up the subscription."""
        self._members.discard(member)
        async with self._lock:
            if self._members or self._subscription is None:
                return
            subscription, self._subscription = self._subscription, None
            await subscription.aclose()
            if self._reader is not None:
                await api.end_owned(self._reader)
            self._unfinished.clear()

    def _hinted(self, message: str | None) -> None:
        if message is None:
            self._missed = True
        else:
            task_id = json.loads(message)["task_id"]
            self._changed[task_id] = None
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="signalbox-user-room")

    async def _read(self) -> None:
        while self._missed or self._changed:
            task_ids = list(self._changed)[:MAX_PER_READ]
            for task_id in task_ids:
                del self._changed[task_id]
            missed, self._missed = self._missed, False
            try:
                self._show(await api.summaries(task_ids))
                if missed:
                    await self._resync()
            except StoreUnavailable:
                self._changed.update(dict.fromkeys(task_ids))
                self._missed = self._missed or missed
                await asyncio.sleep(RETRY_SECONDS)

    async def _resync(self) -> None:
        viewer = api.Viewer(user_id=self.user_id, username="")
        page = await api.list_tasks(viewer=viewer, limit=RESYNC_TASKS)
        older = self._unfinished.difference(task.id for task in page.tasks)
        self._show([*await api.summaries(sorted(older)), *page.tasks])

    def _show(self, tasks: list[api.Task]) -> None:
        for task in tasks:
            if task.user_id != self.user_id:
                continue
            if task.is_finished:
                self._unfinished.discard(task.id)
            else:
                self._unfinished.add(task.id)
            frame = messages.encode("task:update", task.resource(with_result=False))
            message = {"type": "websocket.send", "text": frame}
            for member in tuple(self._members):
                member.push(message)
