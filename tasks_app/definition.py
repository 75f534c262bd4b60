"""The `@task` decorator: Django's Task with the options of this engine."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack, overload

from django_tasks.base import Task as DjangoTask
from django_tasks.base import task as django_task

from tasks_app.domain.retry import Retry
from tasks_app.errors import InvalidTask

P = ParamSpec("P")
T = TypeVar("T")


class TaskOptions(TypedDict, total=False):
    """What `@task(…)` and `.using(…)` take; durations in seconds."""

    priority: int
    queue_name: str
    backend: str
    item_id: str
    user_id: str
    timeout: float | None
    retry: Retry | None
    expires_in: float | None
    max_deliveries: int | None


class UsingOptions(TaskOptions, total=False):
    """What `.using(…)` takes: the options, and the moment before which the task must not start."""

    run_after: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition(DjangoTask[P, T]):
    """A registered function with its options; impossible options are refused when it is defined.

    `timeout` limits one attempt; `expires_in` the wait before the first; `max_deliveries` how many
    workers may die of it (None: TASK_MAX_DELIVERIES). `retry` None: a failure is final.
    """

    item_id: str = ""
    user_id: str = ""
    timeout: float | None = None
    retry: Retry | None = None
    expires_in: float | None = None
    max_deliveries: int | None = None

    def __post_init__(self) -> None:
        # No zero-argument super(): a dataclass with slots is a new class, unknown to its __class__.
        DjangoTask.__post_init__(self)
        for name in ("timeout", "expires_in", "max_deliveries"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidTask(f"{name} must be more than 0, not {value!r}.")
        if len(self.item_id) > 200:  # noqa: PLR2004 the contract's limit
            raise InvalidTask("item_id is at most 200 characters long.")

    def using(self, **options: Unpack[UsingOptions]) -> TaskDefinition[P, T]:  # type: ignore[override] # wider
        """Return a copy with other options."""
        unknown = (
            set(options) - set(UsingOptions.__annotations__) - set(TaskOptions.__annotations__)
        )
        if unknown:
            raise InvalidTask(f"Unknown task options: {', '.join(sorted(unknown))}.")
        return replace(self, **options)


@overload
def task(function: Callable[P, T], /) -> TaskDefinition[P, T]: ...
@overload
def task(
    *, takes_context: bool = False, **options: Unpack[TaskOptions]
) -> Callable[[Callable[..., T]], TaskDefinition[..., T]]: ...
def task(function: Any = None, /, **options: Any) -> Any:
    """Register a module-level function, `def` or `async def`, as a task.

    With `takes_context=True` its first argument is named `context` (domain/context.py). Raises
    InvalidTask, or Django's InvalidTaskError, when the definition cannot work.
    """
    return django_task(function, **options) if function else django_task(**options)


async def resolve(path: str) -> TaskDefinition[..., Any]:
    """Do as `definition_at` without ever importing a module on the event loop."""
    if path.rpartition(".")[0] in sys.modules:
        return definition_at(path)
    return await asyncio.to_thread(definition_at, path)


def definition_at(path: str) -> TaskDefinition[..., Any]:
    """Return the definition at "module.function", importing its module if needed.

    Raises InvalidTask when there is none.
    """
    module_name, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except (ImportError, ValueError) as error:
        raise InvalidTask(f"Unknown task {path!r}: its module is not installed here.") from error
    if not isinstance(found, DjangoTask):
        raise InvalidTask(f"Unknown task {path!r}: no @task of that name is installed here.")
    return adopted(found)


def adopted(task: DjangoTask[P, T]) -> TaskDefinition[P, T]:
    """Return the task with our options, also one that was defined for another backend."""
    if isinstance(task, TaskDefinition):
        return task
    return TaskDefinition(
        func=task.func,
        priority=task.priority,
        queue_name=task.queue_name,
        backend=task.backend,
        run_after=task.run_after,
        takes_context=task.takes_context,
    )
