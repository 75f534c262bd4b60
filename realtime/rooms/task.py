"""A task's room: the sockets of this process that follow it.

Each published event is decoded and encoded once and handed to every follower that has the one
before it; who has not, or does not read as fast, reads what it lacks from Redis by itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Protocol

from realtime.domain import messages
from realtime.rooms.room import Room
from realtime.scope import Message
from tasks_app import api
from tasks_app.errors import StoreUnavailable, TaskNotFound

log = logging.getLogger(__name__)

RECHECK_SECONDS = 10.0  # the net under a lost message; normally nothing is found


@dataclass(frozen=True, slots=True)
class Heard:
    """One event, ready to be sent to everybody who has its predecessor."""

    id: str
    before: str
    is_end: bool
    message: Message


class Follower(Protocol):
    """A socket's place in the task's events."""

    position: str

    def hear(self, event: Heard) -> None:
        """Take the event if it is the next one."""

    def catch_up(self) -> None:
        """Read what is kept after one's position."""


class TaskRoom(Room[Follower]):
    """The followers of one task; its name is the task's id."""

    def __init__(self, name: str, instance: str) -> None:
        super().__init__(name, instance)
        self._has_heard = False
        self._net: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    def _listen(self) -> AbstractAsyncContextManager[None]:
        return api.listen_task(self.name, self._heard)

    async def _joined(self) -> None:
        if self._net is None:
            self._net = asyncio.create_task(self._recheck_for_ever(), name="signalbox-task-room")

    async def _closed(self) -> None:
        for task in (self._net, self._ending):
            if task is not None:
                await api.end_owned(task)
        self._net = self._ending = None

    def _heard(self, message: str | None) -> None:
        self._has_heard = True
        if message is None:
            self._catch_up_all()
            return
        raw = json.loads(message)
        if raw["type"] == "end":
            # It carries nothing: what it is about is read from the record, once for everybody.
            self._ending = asyncio.create_task(self._end(raw["prev"]), name="signalbox-task-end")
        else:
            self._tell(api.Event(id=raw["id"], type=raw["type"], data=raw["data"]), raw["prev"])

    def _tell(self, event: api.Event, before: str) -> None:
        heard = Heard(event.id, before, event.type == "end", frame_of(self.name, event))
        for follower in tuple(self._members):
            follower.hear(heard)

    async def _end(self, before: str) -> None:
        reader = api.EventReader(self.name, before)
        try:
            async with aclosing(reader.kept()) as events:
                async for event in events:
                    self._tell(event, before)
                    before = event.id
        except (StoreUnavailable, TaskNotFound):
            self._catch_up_all()  # each one tries again, and knows what to say

    def _catch_up_all(self) -> None:
        for follower in tuple(self._members):
            follower.catch_up()

    async def _recheck_for_ever(self) -> None:
        while True:
            self._has_heard = False
            await asyncio.sleep(RECHECK_SECONDS)
            if not self._has_heard and self._members:
                await self._recheck(next(iter(self._members)).position)

    async def _recheck(self, position: str) -> None:
        """Let all followers look, if one of them would find something."""
        try:
            async with aclosing(api.EventReader(self.name, position).kept()) as events:
                async for _ in events:
                    self._catch_up_all()
                    return
        except TaskNotFound:
            self._catch_up_all()
        except StoreUnavailable:
            return  # the subscription will say that there was a gap
        except Exception:  # stay alive: the net must hold
            log.exception("recheck_failed task_id=%s", self.name)


def frame_of(task_id: str, event: api.Event) -> Message:
    data = {"task_id": task_id, "id": event.id, "type": event.type, "data": event.data}
    return messages.outgoing(messages.encode("task:event", data))
