"""The `context` that a task function receives from this worker."""

from __future__ import annotations

from typing import Any

from tasks_app.worker.attempt import Attempt


class TaskContext:
    """Implements domain.context.Context over an attempt; the sync pool's threads may use it."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

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
        return self._attempt.purpose is not None or self._attempt.interrupted

    def progress(self, value: float, message: str = "") -> None:
        self._attempt.output.progress(value, message)

    def token(self, text: str) -> None:
        self._attempt.output.token(text)

    def emit(self, type: str, data: Any) -> None:  # noqa: A002 the contract's name
        self._attempt.output.emit(type, data)
