"""The `@task` decorator: Django's Task with the options of this engine."""

from __future__ import annotations

import asyncio
import importlib
import math
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import (
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from tasks_app.compat import DjangoTask, GenericTask, InvalidTaskError, TaskResult
from tasks_app.context import TaskContext
from tasks_app.domain.retry import Retry
from tasks_app.errors import InvalidTask

P = ParamSpec("P")
T = TypeVar("T")

LONGEST_NAME = 200  # characters
POSITIVE = ("timeout", "expires_in", "max_deliveries", "debounce", "max_wait", "concurrency")
WHOLE = ("max_deliveries", "concurrency")
NAMES = (
    "item_id", "user_id", "debounce_key", "unique_key", "supersede_key", "concurrency_key",
)  # fmt: skip
FLAGS = ("enqueue_on_commit", "detached")


class TaskOptions(TypedDict, total=False):
    """What `@task(…)` and `.using(…)` take; durations in seconds. See TaskDefinition."""

    priority: int
    queue_name: str
    backend: str
    item_id: str
    user_id: str
    timeout: float | None
    retry: Retry | None
    expires_in: float | None
    max_deliveries: int | None
    debounce: float | None
    max_wait: float | None
    debounce_key: str
    unique_key: str
    supersede_key: str
    concurrency_key: str
    concurrency: int | None
    enqueue_on_commit: bool
    detached: bool


class UsingOptions(TaskOptions, total=False):
    """What `.using(…)` takes: the options, and the moment before which the task must not start."""

    run_after: datetime | None


class InvalidDefinition(InvalidTask, InvalidTaskError):
    """The task's options cannot work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition(GenericTask[P, T]):
    """A registered function with its options; impossible options are refused when it is defined.

    `timeout` limits one attempt; `expires_in` the wait for the first, once it is due;
    `max_deliveries` how many workers may die of it (None: TASK_MAX_DELIVERIES). `retry` None: a
    failure is final.

    `debounce`: the task waits so long; enqueued again meanwhile, the waiting task takes the new
    arguments and waits anew, `max_wait` at most in all. `debounce_key` tells what counts as the
    same (default: the item). `unique_key`: while a task of the key is unfinished, enqueueing
    returns that one. `supersede_key`: enqueueing stops the key's unfinished task, and takes its
    place where that is a parent of the new one. These keys are separate for each `user_id`.
    `concurrency`: at most so many tasks of `concurrency_key` (default: of this definition) run at
    once, in all workers together.

    `enqueue_on_commit`: within a database transaction, enqueued when that is committed.
    `detached`: enqueued by a task, it is not its child, and not stopped with it.
    """

    # Django 6.0 has no defaults for these.
    priority: int = 0
    backend: str = "default"
    queue_name: str = "default"
    run_after: datetime | None = None
    item_id: str = ""
    user_id: str = ""
    timeout: float | None = None
    retry: Retry | None = None
    expires_in: float | None = None
    max_deliveries: int | None = None
    debounce: float | None = None
    max_wait: float | None = None
    debounce_key: str = ""
    unique_key: str = ""
    supersede_key: str = ""
    concurrency_key: str = ""
    concurrency: int | None = None
    enqueue_on_commit: bool = False
    detached: bool = False

    def __post_init__(self) -> None:
        # No zero-argument super(): a dataclass with slots is a new class, unknown to its __class__.
        _check_values(self)
        DjangoTask.__post_init__(self)
        if self.debounce is None and (self.max_wait is not None or self.debounce_key):
            raise InvalidDefinition("max_wait and debounce_key need debounce, a number of seconds.")
        if self.debounce is not None and (self.max_wait or self.debounce) < self.debounce:
            raise InvalidDefinition("max_wait must not be less than debounce.")

    def using(self, **options: Unpack[UsingOptions]) -> TaskDefinition[P, T]:  # type: ignore[override] # wider
        """Return a copy with other options."""
        _refuse_unknown(options, UsingOptions.__annotations__ | TaskOptions.__annotations__)
        return replace(self, **options)

    # Frozen: a copy is as good as itself. Pickled, it is its path and its options.
    def __copy__(self) -> TaskDefinition[P, T]:
        return self

    def __deepcopy__(self, memo: Any) -> TaskDefinition[P, T]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "func"}
        return _rebuilt, (self.module_path, options)

    async def aenqueue_many(
        self, calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]]
    ) -> list[TaskResult[T]]:
        """Enqueue a task for each `(args, kwargs)`, in few round trips; results in their order.

        All arguments are checked first. Never waits for a commit. When Redis fails in the middle,
        StoreUnavailable is raised and some of the tasks may have been enqueued.
        """
        backend: Any = self.get_backend()
        results: list[TaskResult[T]] = await backend.aenqueue_many(self, calls)
        return results


def _rebuilt(path: str, options: dict[str, Any]) -> TaskDefinition[..., Any]:
    return replace(definition_at(path), **options)


def _refuse_unknown(options: Mapping[str, Any], known: Iterable[str]) -> None:
    if unknown := set(options) - set(known):
        raise InvalidDefinition(f"Unknown task options: {', '.join(sorted(unknown))}.")


class Decorator(Protocol):
    """What `@task(…)` is: it keeps the function's parameters, and the type of its result."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> TaskDefinition[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> TaskDefinition[P, T]: ...


class ContextDecorator(Protocol):
    """What `@task(takes_context=True, …)` is: callers do not see the parameter `context`."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], Coroutine[Any, Any, T]], /
    ) -> TaskDefinition[P, T]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], T], /
    ) -> TaskDefinition[P, T]: ...


@overload
def task(function: Callable[P, Coroutine[Any, Any, T]], /) -> TaskDefinition[P, T]: ...
@overload
def task(function: Callable[P, T], /) -> TaskDefinition[P, T]: ...
@overload
def task(*, takes_context: Literal[True], **options: Unpack[TaskOptions]) -> ContextDecorator: ...
@overload
def task(*, takes_context: Literal[False] = False, **options: Unpack[TaskOptions]) -> Decorator: ...
def task(function: Any = None, /, *, takes_context: bool = False, **options: Any) -> Any:
    """Register a module-level function, `def` or `async def`, as a task.

    With `takes_context=True` its first argument is named `context` (tasks_app/context.py). Raises
    InvalidDefinition, or Django's InvalidTaskError, when the definition cannot work.
    """
    _refuse_unknown(options, TaskOptions.__annotations__)

    def defined(func: Callable[..., Any]) -> TaskDefinition[..., Any]:
        # Not by Django's decorator: before 6.1 it takes no options, and where another backend
        # stands in for ours (in tests), its class of tasks would not know them.
        return TaskDefinition(func=func, takes_context=takes_context, **options)

    return defined if function is None else defined(function)


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


def _check_values(definition: TaskDefinition[..., Any]) -> None:
    """Refuse options of the wrong kind, by name: most come from a call of `using`."""
    for name in POSITIVE:
        _check_number(name, getattr(definition, name))
    for name in NAMES:
        _check_kind(name, getattr(definition, name), str, "text")
        if len(getattr(definition, name)) > LONGEST_NAME:
            raise InvalidDefinition(f"{name} is at most {LONGEST_NAME} characters long.")
    for name in FLAGS:
        _check_kind(name, getattr(definition, name), bool, "true or false")
    _check_kind("retry", definition.retry, Retry | None, "a Retry(…) or None")
    _check_kind("queue_name", definition.queue_name or None, str, "text")
    if isinstance(definition.priority, bool):
        raise InvalidDefinition("priority must be a whole number between -100 and 100.")
    _check_kind("priority", definition.priority, int | float, "a whole number")


def _check_number(name: str, value: Any) -> None:
    if value is None:
        return
    kinds = int if name in WHOLE else int | float
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < math.inf:
        what = "whole number" if name in WHOLE else "number of seconds"
        raise InvalidDefinition(f"{name} must be a {what}, more than 0, not {value!r}.")


def _check_kind(name: str, value: Any, kind: Any, what: str) -> None:
    if not isinstance(value, kind):
        raise InvalidDefinition(f"{name} is {what}, not {value!r}.")
