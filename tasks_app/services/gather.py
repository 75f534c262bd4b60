"""Waits for tasks that a task, or anybody else, has enqueued."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Protocol

from tasks_app.compat import TaskResult, TaskResultStatus
from tasks_app.domain.context import current_wait
from tasks_app.domain.records import Task
from tasks_app.domain.states import TaskState
from tasks_app.errors import TaskFailed
from tasks_app.services.follow import wait_task


class HasId(Protocol):
    """A TaskResult of Django's Tasks API, or a task."""

    @property
    def id(self) -> str: ...


async def gather(
    *tasks: HasId | str,
    timeout: float | None = None,  # noqa: ASYNC109 a public deadline
    return_exceptions: bool = False,
) -> list[Any]:
    """Wait until the tasks have ended; return their results in order.

    Each is named by its id or by what `aenqueue` returned. Within a task the worker's slot is free
    for others meanwhile; when that task is stopped, so are its children. Raises TaskFailed for
    the first in order that did not succeed (its notes say why), or puts the error in
    that place with `return_exceptions`; TimeoutError after `timeout` seconds: the tasks go on;
    TaskNotFound, StoreUnavailable.
    """
    on_wait = current_wait.get()
    if on_wait is not None:
        on_wait(True)
    try:
        async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
            waiting = [group.create_task(_end_of(task)) for task in tasks]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        if on_wait is not None:
            on_wait(False)
    results = [one.result() for one in waiting]
    for result in results:
        if isinstance(result, TaskFailed) and not return_exceptions:
            raise result
    return results


async def _end_of(task: HasId | str) -> Any:
    if isinstance(task, TaskResult) and task.is_finished:  # a finished task never changes
        return _shown(task)
    return _result(await wait_task(task if isinstance(task, str) else task.id, math.inf))


def _shown(result: TaskResult[Any]) -> Any:
    if result.status == TaskResultStatus.SUCCESSFUL:
        return result.return_value
    failure = TaskFailed(f"The task {result.id} ({result.task.name}) ended as failed.")
    for error in result.errors:
        failure.add_note(error.traceback.rstrip().rpartition("\n")[2])
    return failure


def _result(task: Task) -> Any:
    if task.status is TaskState.SUCCEEDED:
        return task.result
    failure = TaskFailed(f"The task {task.id} ({task.name}) ended as {task.status.value}.")
    if task.error is not None:
        failure.add_note(f"{task.error['type']}: {task.error['message']}")
    return failure
