"""The engine as a backend of Django's Tasks API (`TASKS = {"default": {"BACKEND": …}}`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import transaction
from django_tasks.backends.base import BaseTaskBackend
from django_tasks.base import Task as DjangoTask
from django_tasks.base import TaskError, TaskResult, TaskResultStatus
from django_tasks.exceptions import TaskResultDoesNotExist
from django_tasks.signals import task_enqueued

from tasks_app.definition import TaskDefinition, adopted, definition_at
from tasks_app.domain.records import NewTask, Task
from tasks_app.domain.states import TaskState
from tasks_app.services import enqueue, inspect
from tasks_app.services.enqueue import Arguments

P = ParamSpec("P")
T = TypeVar("T")

STATUS = {
    TaskState.SCHEDULED: TaskResultStatus.READY,
    TaskState.QUEUED: TaskResultStatus.READY,
    TaskState.RUNNING: TaskResultStatus.RUNNING,
    TaskState.CANCELING: TaskResultStatus.RUNNING,
    TaskState.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    # Django knows no "canceled": the finer state is in the task resource.
    TaskState.FAILED: TaskResultStatus.FAILED,
    TaskState.CANCELED: TaskResultStatus.FAILED,
    TaskState.LOST: TaskResultStatus.FAILED,
}


class SignalboxBackend(BaseTaskBackend):
    """Runs tasks on Redis and `manage.py taskworker`; results can be read from any process."""

    task_class = TaskDefinition
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(self, task: DjangoTask[P, T], args: Any, kwargs: Any) -> TaskResult[T]:
        self.validate_task(task)
        definition = adopted(task)
        new = enqueue.prepare(definition, args, kwargs)
        if definition.enqueue_on_commit:
            # Outside a transaction this runs at once.
            transaction.on_commit(lambda: self._send_later(task, new, args, kwargs))
            return self._result(_promised(new, args, kwargs), task)
        return self._sent(task, enqueue.send_sync(new), args, kwargs)

    async def aenqueue(self, task: DjangoTask[P, T], args: Any, kwargs: Any) -> TaskResult[T]:
        definition = adopted(task)
        if definition.enqueue_on_commit:
            # The transaction, if there is one, is that of the synchronous code around us.
            return await sync_to_async(self.enqueue)(task, args, kwargs)
        self.validate_task(task)
        record = await enqueue.enqueue_task(definition, args=args, kwargs=kwargs)
        result = self._result(_with_arguments(record, args, kwargs), task)
        await task_enqueued.asend(type(self), task_result=result)
        return result

    async def aenqueue_many(
        self, task: DjangoTask[P, T], calls: Iterable[Arguments]
    ) -> list[TaskResult[T]]:
        self.validate_task(task)
        pairs = list(calls)
        records = await enqueue.enqueue_many(adopted(task), pairs)
        results = [
            self._result(_with_arguments(record, args, kwargs), task)
            for record, (args, kwargs) in zip(records, pairs, strict=True)
        ]
        for result in results:
            await task_enqueued.asend(type(self), task_result=result)
        return results

    def _send_later(self, task: DjangoTask[P, T], new: NewTask, args: Any, kwargs: Any) -> None:
        self._sent(task, enqueue.send_sync(new), args, kwargs)

    def _sent(self, task: DjangoTask[P, T], record: Task, args: Any, kwargs: Any) -> TaskResult[T]:
        result = self._result(_with_arguments(record, args, kwargs), task)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult[Any]:
        record = inspect.find_sync(result_id)
        if record is None:
            raise TaskResultDoesNotExist(result_id)
        return self._result(record, definition_at(record.path))

    async def aget_result(self, result_id: str) -> TaskResult[Any]:
        record = await inspect.find(result_id)
        if record is None:
            raise TaskResultDoesNotExist(result_id)
        return self._result(record, definition_at(record.path))

    def _result(self, record: Task, task: DjangoTask[..., T]) -> TaskResult[T]:
        result: TaskResult[T] = TaskResult(
            task=task,
            id=record.id,
            status=STATUS[record.status],
            enqueued_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            last_attempted_at=record.started_at,
            args=record.payload.get("args", []),
            kwargs=record.payload.get("kwargs", {}),
            backend=self.alias,
            errors=_errors(record),
            worker_ids=[record.instance] * record.attempts if record.instance else [],
        )
        # The package's own way of filling this private field of a frozen dataclass.
        object.__setattr__(result, "_return_value", record.result)
        return result


def _promised(new: NewTask, args: Any, kwargs: Any) -> Task:
    """Return the task that will be enqueued at the commit, under the id that it will have."""
    promised = Task(
        id=new.id, name=new.name, queue=new.queue, status=TaskState.QUEUED, seq=0, path=new.path
    )
    return _with_arguments(promised, args, kwargs)


def _with_arguments(record: Task, args: Any, kwargs: Any) -> Task:
    """Return the new record with what it was enqueued with, which nobody has to read back."""
    return replace(record, payload={"args": list(args), "kwargs": dict(kwargs)})


def _errors(record: Task) -> list[TaskError]:
    if record.status is TaskState.CANCELED:
        return [TaskError(exception_class_path="asyncio.CancelledError", traceback="")]
    if record.error is None:
        return []
    return [TaskError(exception_class_path="builtins.Exception", traceback=record.error["message"])]
