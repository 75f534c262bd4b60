"""What a running task may do with itself, and the variable that knows which task is running."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

# The id of the task whose function is running here, so that what it enqueues becomes its child.
current_task_id: ContextVar[str] = ContextVar("signalbox_current_task_id", default="")
# Called with True when that task begins to wait for others and needs no slot of its worker, with
# False when it goes on; None where no worker runs it.
current_wait: ContextVar[Callable[[bool], None] | None] = ContextVar(
    "signalbox_current_wait", default=None
)


class Context(Protocol):
    """The `context` argument of a task with `takes_context=True`: plain calls, sync and async."""

    @property
    def task_id(self) -> str: ...

    @property
    def attempt(self) -> int: ...

    @property
    def item_id(self) -> str: ...

    @property
    def user_id(self) -> str: ...

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the task to stop; a synchronous function should look at it."""

    def progress(self, value: float, message: str = "") -> None:
        """Report progress, 0…1."""

    def token(self, text: str) -> None:
        """Append text to the task's output."""

    def emit(self, type: str, data: Any) -> None:  # noqa: A002 the contract's name
        """Send an event of your own type with JSON data."""
