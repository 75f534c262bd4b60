"""The `context` that a task function receives from this worker."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from tasks_app.compat import DjangoTask, TaskResult
from tasks_app.context import TaskContext
from tasks_app.domain.records import Claimed, Task, from_ms
from tasks_app.domain.states import TaskState
from tasks_app.results import task_result
from tasks_app.store.tasks import workers_of
from tasks_app.worker.attempt import Attempt


class WorkerContext(TaskContext):
    """A context over an attempt; the sync pool's threads may use it."""

    def __init__(self, attempt: Attempt, definition: DjangoTask[..., Any]) -> None:
        # The dataclass above us is frozen.
        object.__setattr__(self, "_attempt", attempt)
        object.__setattr__(self, "_definition", definition)

    _attempt: Attempt
    _definition: DjangoTask[..., Any]

    @cached_property
    def task_result(self) -> TaskResult[Any]:
        return running_result(self._attempt, self._definition)

    @property
    def task_id(self) -> str:
        return self._attempt.claimed.id

    @property
    def attempt(self) -> int:
        return self._attempt.claimed.attempt

    @property
    def item_id(self) -> str:
        return self._attempt.claimed.item_id

    @property
    def user_id(self) -> str:
        return self._attempt.claimed.user_id

    @property
    def cancelled(self) -> bool:
        return self._attempt.look()

    def progress(self, value: float, message: str = "") -> None:
        self._attempt.output.progress(value, message)

    def token(self, text: str) -> None:
        self._attempt.output.token(text)

    def emit(self, type: str, data: Any) -> None:  # noqa: A002 the contract's name
        self._attempt.output.emit(type, data)


def running_result(attempt: Attempt, definition: DjangoTask[..., Any]) -> TaskResult[Any]:
    """Return the attempt's task as it is now, running, without asking Redis."""
    return task_result(_running(attempt.claimed, attempt.started_ms), definition)


def _running(claimed: Claimed, started: int) -> Task:
    instance = claimed.token.partition(f":{claimed.id}:")[0]
    payload = json.loads(claimed.payload)
    return Task(
        id=claimed.id,
        name=claimed.name,
        queue="",  # the result shows its definition's
        status=TaskState.RUNNING,
        seq=0,
        attempts=claimed.attempt,
        created_at=from_ms(claimed.created),
        started_at=from_ms(started),
        payload=payload if isinstance(payload, dict) else {},
        backend=claimed.backend,
        workers=workers_of(claimed.past, instance),
    )
