"""The `context` of a task function: Django's TaskContext with what this engine adds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from tasks_app.compat import DjangoTaskContext, TaskResult


class TaskContext(DjangoTaskContext, ABC):
    """Implements domain.context.Context; annotate the first argument with this, or with Django's.

    Its calls are plain calls in asynchronous and synchronous tasks alike.
    """

    @property
    @abstractmethod
    def task_result(self) -> TaskResult[Any]:  # built when it is asked for
        """The task as Django's API shows it: as it was when this attempt began."""

    @property
    @abstractmethod
    def task_id(self) -> str: ...

    @property
    @abstractmethod
    def attempt(self) -> int:
        """The number of this attempt, from 1."""

    @property
    @abstractmethod
    def item_id(self) -> str: ...

    @property
    @abstractmethod
    def user_id(self) -> str: ...

    @property
    @abstractmethod
    def cancelled(self) -> bool:
        """Whether somebody asked the task to stop; a synchronous function should look at it.

        At a shutdown too: a synchronous function that has seen it is run again by another worker.
        """

    @abstractmethod
    def progress(self, value: float, message: str = "") -> None:
        """Report progress, 0…1."""

    @abstractmethod
    def token(self, text: str) -> None:
        """Append text to the task's output."""

    @abstractmethod
    def emit(self, type: str, data: Any) -> None:  # noqa: A002 the contract's name
        """Send an event of your own type with JSON data."""

    # Django's context is a dataclass that compares and hashes its result, which has lists.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} task_id={self.task_id} attempt={self.attempt}>"
