"""One in-process coroutine: its lease, its asyncio task, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass, field
from typing import Any

from tasks_app.conf import MAX_OUTPUT_BYTES
from tasks_app.domain import retry
from tasks_app.domain.codec import dumps
from tasks_app.store.registrations import RegisterCode
from tasks_app.worker.attempt import Ending, Held, Outcome, Purpose

log = logging.getLogger(__name__)

NEVER_STARTED = {
    "type": "NeverStarted",
    "message": "The coroutine never started: its registration was not confirmed in time.",
}


@dataclass(eq=False, kw_only=True)
class Coroutine(Held):
    """A coroutine that this process registers, runs and settles by itself.

    `reason` says why the system ended it, where nobody else asked for it; `expires_at` is the
    monotonic time after which its end need not be written: then the reaper has done it.
    """

    task_id: str
    token: str
    name: str
    item_id: str
    parent_id: str
    registered: asyncio.Future[RegisterCode] = field(repr=False)
    reason: str = ""
    expires_at: float = math.inf
    held_until: float = 0.0  # monotonic: Redis refused its last write, so the next one waits

    @property
    def lease(self) -> tuple[str, str]:
        return self.task_id, self.token

    def end(self, done: asyncio.Task[Any]) -> None:
        """Take the outcome from its asyncio task; one that we cancelled is canceled, whatever."""
        error = None if done.cancelled() else done.exception()
        if error is not None:
            log.warning(
                "coroutine_failed task_id=%s name=%s error=%s",
                self.task_id, self.name, type(error).__name__,
                exc_info=error if not hasattr(error, "error_type") else None,
            )  # fmt: skip
        if self.purpose is not None:
            self.cancel_outcome()
        elif done.cancelled() and done.cancelling():
            self.reason = "program"
            self.cancel_outcome()
        elif done.cancelled():
            self.outcome = failed({"type": "CancelledError", "message": "It cancelled itself."})
        elif error is not None:
            self.outcome = failed(retry.describe(error))
        else:
            self.outcome = Outcome(ending=Ending.SUCCEEDED, result=_json(done.result()))

    def cancel_outcome(self) -> None:
        if self.purpose is Purpose.RELEASE:
            self.reason = "shutdown"
        self.outcome = Outcome(ending=Ending.CANCELED)


def failed(error: dict[str, str]) -> Outcome:
    return Outcome(ending=Ending.FAILED, error=dumps(error))


def _json(result: Any) -> str:
    """Return the result as JSON; what is none, or too large, becomes null: it is no failure."""
    try:
        text = dumps(result)
    except Exception:  # noqa: BLE001 a result may be of any class, and its methods raise anything
        return "null"
    return text if len(text.encode()) <= MAX_OUTPUT_BYTES else "null"
