"""The asked side of a call: one session's unanswered questions."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from realtime.domain import limits, messages
from realtime.domain.calls import GONE, Question
from realtime.domain.messages import CallReply, FrameError
from realtime.outbox import Outbox
from realtime.store import calls
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)


class Asked:
    """Shows questions and takes answers; the truth about each call is in Redis."""

    def __init__(self, session_id: str, outbox: Outbox) -> None:
        self._session_id = session_id
        self._outbox = outbox
        self._open: dict[str, float] = {}  # call id to when its time is over, by this loop's clock

    def ask(self, question: Question) -> bool:
        """Show a question to the client; False when too many wait for an answer already."""
        now = asyncio.get_running_loop().time()
        self._open = {call_id: over for call_id, over in self._open.items() if over > now}
        if question.call_id in self._open:  # published again, after a broken connection
            return True
        if len(self._open) >= limits.MAX_CALLS:
            return False
        self._open[question.call_id] = now + question.seconds
        self._outbox.push(messages.outgoing(question.frame))
        return True

    async def reply(self, given: CallReply) -> dict[str, Any]:
        """Take an answer to the asker; raises FrameError and StoreUnavailable."""
        over = self._open.get(given.call_id)
        try:
            text = messages.to_json(given.data)
        except ValueError as error:
            raise FrameError("invalid", f"data: cannot be sent on: {error}.") from None
        if over is None or not await calls.answer(given.call_id, self._session_id, text):
            self._open.pop(given.call_id, None)
            raise FrameError("not_found", "This session has no such call to answer, or no more.")
        self._open.pop(given.call_id, None)
        return {"call_id": given.call_id}

    async def aclose(self) -> None:
        """Let those who wait for an answer know at once that none will come."""
        for call_id in tuple(self._open):
            try:
                await calls.decline(call_id, self._session_id, GONE)
            except StoreUnavailable:
                log.warning("calls_not_declined")
                return
