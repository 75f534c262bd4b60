"""The engine as a backend of Django's Tasks API (`TASKS = {"default": {"BACKEND": …}}`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.core.checks import CheckMessage
from django.db import transaction

from tasks_app import checks, signals
from tasks_app.compat import (
    BaseTaskBackend,
    DjangoTask,
    InvalidTaskBackendError,
    InvalidTaskError,
    TaskResult,
    TaskResultDoesNotExist,
    task_enqueued,
)
from tasks_app.definition import TaskDefinition, adopted, definition_at, resolve
from tasks_app.domain.records import NewTask, Task
from tasks_app.domain.states import TaskState
from tasks_app.results import task_result
from tasks_app.services import enqueue, inspect
from tasks_app.services.enqueue import Arguments

P = ParamSpec("P")
T = TypeVar("T")


class SignalboxBackend(BaseTaskBackend):
    """Runs tasks on Redis and `manage.py taskworker`; results can be read from any process."""

    task_class = TaskDefinition
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._params = params

    def check(self, **_: Any) -> Iterable[CheckMessage]:
        """Report wrong settings of the engine (once, however many aliases) and of this alias."""
        if self.alias == checks.first_alias(SignalboxBackend):
            yield from checks.check_settings()
        yield from checks.check_alias(self.alias, self._params)

    def enqueue(self, task: DjangoTask[P, T], args: Any, kwargs: Any) -> TaskResult[T]:
        self.validate_task(task)
        definition = adopted(task)
        new = enqueue.prepare(definition, args, kwargs)
        if definition.enqueue_on_commit:
            # Outside a transaction this runs at once.
            transaction.on_commit(lambda: self._send_later(task, new, args, kwargs))
            return task_result(_promised(new, args, kwargs), task)
        return self._sent(task, enqueue.send_sync(new), args, kwargs)

    async def aenqueue(self, task: DjangoTask[P, T], args: Any, kwargs: Any) -> TaskResult[T]:
        definition = adopted(task)
        if definition.enqueue_on_commit:
            # The transaction, if there is one, is that of the synchronous code around us.
            return await sync_to_async(self.enqueue)(task, args, kwargs)
        self.validate_task(task)
        record = await enqueue.enqueue_task(definition, args=args, kwargs=kwargs)
        result = task_result(_with_arguments(record, args, kwargs), task)
        await signals.asend(task_enqueued, result)
        return result

    async def aenqueue_many(
        self, task: DjangoTask[P, T], calls: Iterable[Arguments]
    ) -> list[TaskResult[T]]:
        self.validate_task(task)
        pairs = list(calls)
        records = await enqueue.enqueue_many(adopted(task), pairs)
        results = [
            task_result(_with_arguments(record, args, kwargs), task)
            for record, (args, kwargs) in zip(records, pairs, strict=True)
        ]
        for result in results:
            await signals.asend(task_enqueued, result)
        return results

    def _send_later(self, task: DjangoTask[P, T], new: NewTask, args: Any, kwargs: Any) -> None:
        self._sent(task, enqueue.send_sync(new), args, kwargs)

    def _sent(self, task: DjangoTask[P, T], record: Task, args: Any, kwargs: Any) -> TaskResult[T]:
        result = task_result(_with_arguments(record, args, kwargs), task)
        signals.send(task_enqueued, result)
        return result

    def get_result(self, result_id: str) -> TaskResult[Any]:
        record = _readable(result_id, inspect.find_sync(result_id))
        return task_result(record, as_enqueued(definition_at(record.path), record))

    async def aget_result(self, result_id: str) -> TaskResult[Any]:
        record = _readable(result_id, await inspect.find(result_id))
        return task_result(record, as_enqueued(await resolve(record.path), record))


def _readable(result_id: str, record: Task | None) -> Task:
    """Return the record of a registered task; a coroutine's is no result of Django's API."""
    if record is None or not record.path:
        raise TaskResultDoesNotExist(result_id)
    return record


def as_enqueued(definition: TaskDefinition[P, T], record: Task) -> TaskDefinition[P, T]:
    """Return the definition with the place that this task was given by `.using(…)`."""
    place = {
        "priority": record.priority,
        "queue_name": record.queue,
        "backend": record.backend,
        "run_after": record.run_after if definition.debounce is None else None,
        "item_id": record.item_id or "",
        "user_id": record.user_id or "",
    }
    if all(getattr(definition, name) == value for name, value in place.items()):
        return definition
    try:
        return replace(definition, **place)  # type: ignore[arg-type] # each has its field's type
    except (InvalidTaskError, InvalidTaskBackendError):  # TASKS has changed since
        return definition


def _promised(new: NewTask, args: Any, kwargs: Any) -> Task:
    """Return the task that will be enqueued at the commit, under the id that it will have."""
    promised = Task(
        id=new.id,
        name=new.name,
        queue=new.queue,
        status=TaskState.QUEUED,
        seq=0,
        path=new.path,
        backend=new.backend,
    )
    return _with_arguments(promised, args, kwargs)


def _with_arguments(record: Task, args: Any, kwargs: Any) -> Task:
    """Return the new record with what it was enqueued with, which nobody has to read back."""
    return replace(record, payload={"args": list(args), "kwargs": dict(kwargs)})
