"""All sockets of this process, each of which can be asked something by its session's id.

A session's id begins with the name of its process, so questions need one subscription per process
and none per socket, and that a process has gone is noticed because nobody hears the question.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from realtime.domain.calls import BUSY, GONE, Question
from realtime.rooms.room import Room
from realtime.store import calls, channels
from tasks_app import api
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)


class Callee(Protocol):
    """A session, as somebody who can be asked."""

    @property
    def id(self) -> str:
        """The session's id."""

    def ask(self, question: Question) -> bool:
        """Show the question; False when there are too many already."""


class InstanceRoom(Room[Callee]):
    """The sessions of this process; its name is the instance's."""

    def __init__(self, name: str, instance: str) -> None:
        super().__init__(name, instance)
        self._declining: set[asyncio.Task[None]] = set()

    def _listen(self) -> AbstractAsyncContextManager[None]:
        return channels.listen_instance(self.name, self._heard)

    async def _closed(self) -> None:
        await api.end_owned(*self._declining)

    def _heard(self, message: str | None) -> None:
        if message is None:
            return  # what was missed, its askers learn by their time-out
        question = Question.decode(message)
        callee = next(
            (member for member in self._members if member.id == question.session_id), None
        )
        if callee is None:
            self._decline(question, GONE)
        elif not callee.ask(question):
            self._decline(question, BUSY)

    def _decline(self, question: Question, reason: str) -> None:
        task = asyncio.create_task(_declined(question, reason), name="signalbox-decline")
        self._declining.add(task)
        task.add_done_callback(self._declining.discard)


async def _declined(question: Question, reason: str) -> None:
    try:
        await calls.decline(question.call_id, question.session_id, reason)
    except StoreUnavailable:
        log.warning("call_not_declined reason=%s", reason)
