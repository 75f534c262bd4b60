"""In-process coroutines as tasks: listed, watched and stopped from every process."""

from __future__ import annotations

import asyncio
import inspect as python
import os
from collections.abc import Coroutine
from typing import Any, TypedDict, TypeVar

from tasks_app.domain.codec import clean
from tasks_app.errors import AlreadyFinished, InvalidTask, TaskExists, TaskNotFound
from tasks_app.local.service import held_local_tasks, local_tasks
from tasks_app.services import inspect, stop
from tasks_app.services.enqueue import MAX_ITEM_ID

T = TypeVar("T")

STOP_WAIT_SECONDS = 15.0
RESERVED_IDS = frozenset({"config"})  # /api/v1/tasks/config
BY = "system"
REASON = "program"


class StopAnswer(TypedDict):
    """What became of a stop: `status` is False where there was nothing to stop."""

    status: bool
    message: str


async def create_task(
    coroutine: Coroutine[Any, Any, T], item_id: str | None = None, task_id: str | None = None
) -> tuple[str, asyncio.Task[T]]:
    """Register a coroutine as a task and start it on the running loop; answer its id and itself.

    It is registered first: when this raises, the coroutine was closed and never started. The task
    runs until it ends, is stopped from whatever process, or this process ends; it is `lost` when
    the process dies. Its result is kept where it is JSON. Inside it, what it enqueues or creates
    becomes its child.

    Raises InvalidTask for an id that cannot be used, TaskExists for one that is taken,
    ShuttingDown, StoreUnavailable.
    """
    if not python.iscoroutine(coroutine):
        raise TypeError(f"create_task() takes a coroutine, not {type(coroutine).__name__}")
    try:
        item = _item(item_id)
        task_id = _id(task_id)
        task = await local_tasks().create(coroutine, task_id=task_id, item_id=item)
    except TaskExists:
        coroutine.close()
        raise TaskExists(f"There is a task {task_id} already; choose another id.") from None
    except BaseException:
        coroutine.close()
        raise
    return task_id, task


async def stop_task(task_id: str, wait: bool = False) -> StopAnswer:
    """Ask a task to stop, a coroutine or any other, wherever it runs.

    The request is recorded before this returns, so it cannot be lost. With `wait` this returns
    when the task has ended, `finally` blocks included, or after 15 seconds. Raises
    StoreUnavailable.
    """
    seconds = STOP_WAIT_SECONDS if wait else 0.0
    try:
        task = await stop.stop_task(task_id, by=BY, reason=REASON, wait=seconds)
    except TaskNotFound:
        return {"status": False, "message": f"There is no task {task_id}."}
    except AlreadyFinished:
        return {"status": False, "message": f"Task {task_id} has already finished."}
    if task.is_finished:
        return {"status": True, "message": f"Task {task_id} was stopped."}
    return {"status": True, "message": f"Task {task_id} was asked to stop."}


async def stop_item_tasks(item_id: str) -> StopAnswer:
    """Ask all unfinished tasks of an item to stop, also those that they still start for it.

    Raises StoreUnavailable.
    """
    ids = await stop.stop_item(item_id, by=BY, reason=REASON)
    if not ids:
        return {"status": True, "message": f"Item {item_id} has no task to stop."}
    return {"status": True, "message": f"Asked to stop for item {item_id}: {', '.join(ids)}."}


async def list_tasks() -> list[str]:
    """Return the ids of all unfinished tasks, in every process. Raises StoreUnavailable."""
    return await inspect.unfinished_ids()


async def list_task_ids_by_item_id(item_id: str) -> list[str]:
    """Return the ids of an item's unfinished tasks. Raises StoreUnavailable."""
    return await inspect.unfinished_ids(item_id=item_id)


async def has_active_tasks(item_id: str) -> bool:
    """Return whether an item has an unfinished task. Raises StoreUnavailable."""
    return bool(await inspect.unfinished_ids(item_id=item_id))


async def cleanup_task(task_id: str, item_id: str | None = None) -> None:  # noqa: ARG001 the name
    """Write the end of a coroutine of this process that is done, and wait for that a little.

    Nobody has to: it happens by itself when a coroutine ends. Harmless for one that still runs,
    has been cleaned up, or is not of this process. While Redis is away the end is kept and
    written when it is back. `item_id` is the reference system's; the record knows it.
    """
    held = held_local_tasks()
    if held is not None:
        await held.clean_up(task_id)


def _id(task_id: str | None) -> str:
    if task_id is None:
        return os.urandom(16).hex()
    if not inspect.VALID_ID.match(task_id) or task_id in RESERVED_IDS:
        raise InvalidTask(
            f"A task's id is 1 to 64 of A-Z a-z 0-9 _ - and not `config`, not {task_id!r}."
        )
    return task_id


def _item(item_id: str | None) -> str:
    item = clean(item_id or "")
    if len(item) > MAX_ITEM_ID:
        raise InvalidTask(f"item_id is at most {MAX_ITEM_ID} characters long.")
    return item
