"""A user's room: all sockets of one user, which hear of that user's tasks and get notifications.

Redis only hints that a task changed. The room reads it, once for all its sockets; hints that come
while a read is in flight are merged into the next one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AbstractAsyncContextManager

from realtime.domain import messages
from realtime.rooms.room import Listener, Room, broadcast
from tasks_app import api
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)

RESYNC_TASKS = 100  # the user's newest tasks, sent again after hints may have been missed
MAX_PER_READ = 200
RETRY_SECONDS = 0.5


class UserRoom(Room[Listener]):
    """The sockets of one user on this process; its name is the user's id."""

    def __init__(self, name: str, instance: str) -> None:
        super().__init__(name, instance)
        self._changed: dict[str, None] = {}  # ordered: who waited longest is read first
        self._missed = False
        self._unfinished: set[str] = set()  # as last shown to the sockets
        self._reader: asyncio.Task[None] | None = None

    def _listen(self) -> AbstractAsyncContextManager[None]:
        return api.listen_user(self.name, self._heard)

    async def _closed(self) -> None:
        if self._reader is not None:
            await api.end_owned(self._reader)
        self._unfinished.clear()

    def _heard(self, message: str | None) -> None:
        if message is not None and message.startswith('{"type":'):  # a frame, ready to be sent
            broadcast(tuple(self._members), messages.outgoing(message))
            return
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
        viewer = api.Viewer(user_id=self.name, username="")
        page = await api.list_tasks(viewer=viewer, limit=RESYNC_TASKS)
        older = self._unfinished.difference(task.id for task in page.tasks)
        self._show([*await api.summaries(sorted(older)), *page.tasks])

    def _show(self, tasks: list[api.Task]) -> None:
        for task in tasks:
            if task.user_id != self.name:
                continue
            if task.is_finished:
                self._unfinished.discard(task.id)
            else:
                self._unfinished.add(task.id)
            frame = messages.encode("task:update", task.resource(with_result=False))
            broadcast(tuple(self._members), messages.outgoing(frame))
