"""A task's context that remembers what the function reported, for tests without an engine."""

from __future__ import annotations

from typing import Any


class RecordingContext:
    """Implements tasks_app.domain.context.Context in memory."""

    def __init__(self, task_id: str = "task-1") -> None:
        self.task_id = task_id
        self.attempt = 1
        self.item_id = ""
        self.user_id = "1"
        self.cancelled = False
        self.tokens: list[str] = []
        self.events: list[tuple[str, Any]] = []

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    def progress(self, value: float, message: str = "") -> None:
        self.events.append(("progress", {"progress": value, "message": message}))

    def token(self, text: str) -> None:
        self.tokens.append(text)

    def emit(self, type: str, data: Any) -> None:  # noqa: A002 - the contract's name
        self.events.append((type, data))
