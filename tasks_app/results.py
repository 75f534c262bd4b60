"""Shows a task's record as Django's Tasks API does: TaskResult, its status and its errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tasks_app import errors
from tasks_app.compat import DjangoTask, TaskError, TaskResult, TaskResultStatus
from tasks_app.domain.records import Task
from tasks_app.domain.states import TaskState
from tasks_app.domain.traces import class_path

T = TypeVar("T")

STATUS = {
    TaskState.SCHEDULED: TaskResultStatus.READY,
    TaskState.QUEUED: TaskResultStatus.READY,
    TaskState.RUNNING: TaskResultStatus.RUNNING,
    TaskState.CANCELING: TaskResultStatus.RUNNING,
    TaskState.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    # Django knows no "canceled": the error's class tells (TaskCanceled, InstanceDied, …).
    TaskState.FAILED: TaskResultStatus.FAILED,
    TaskState.CANCELED: TaskResultStatus.FAILED,
    TaskState.LOST: TaskResultStatus.FAILED,
}


def task_result(record: Task, task: DjangoTask[..., T]) -> TaskResult[T]:
    """Return the record as a result of `task`."""
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
        backend=record.backend,
        errors=_errors(record),
        worker_ids=_workers(record.workers, record.attempts),
    )
    # The package's own way of filling this private field of a frozen dataclass.
    object.__setattr__(result, "_return_value", record.result)
    return result


def _workers(known: Sequence[str], attempts: int) -> list[str]:
    """Return a worker for each attempt, as Django counts attempts by them.

    Of a task with very many attempts the record names the last ones only.
    """
    return ["unknown"] * max(0, attempts - len(known)) + list(known)


def _errors(record: Task) -> list[TaskError]:
    if record.status is TaskState.CANCELED:
        return [_canceled(record)]
    if record.error is None:
        return []
    kind, message = record.error["type"], record.error["message"]
    fault = record.fault
    # What the engine itself wrote later (the next worker died, …) is not that attempt's fault.
    if fault is not None and fault.attempt == record.attempts and fault.type == kind:
        return [TaskError(exception_class_path=fault.class_path, traceback=fault.traceback)]
    own: Any = getattr(errors, kind, None)
    is_ours = isinstance(own, type) and issubclass(own, errors.TasksError)
    path = class_path(own) if is_ours else "builtins.Exception"
    return [TaskError(exception_class_path=path, traceback=f"{kind}: {message}\n")]


def _canceled(record: Task) -> TaskError:
    who = f"Stopped by {record.stopped_by} ({record.reason})." if record.stopped_by else "Canceled."
    return TaskError(exception_class_path=class_path(errors.TaskCanceled), traceback=f"{who}\n")
