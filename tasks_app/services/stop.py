"""Stops tasks from anywhere: the request becomes state first, then it is signalled."""

from __future__ import annotations

from collections.abc import Sequence

from tasks_app.domain.records import Task, Viewer
from tasks_app.errors import AlreadyFinished, NotAllowed, TaskNotFound
from tasks_app.services import inspect
from tasks_app.services.follow import wait_task
from tasks_app.store import client, keys, scripts
from tasks_app.store import tasks as store
from tasks_app.store.scripts import StopCode

ROUNDS = (
    20  # a stopped item's tasks may still start others; beyond this something enqueues for ever
)


async def stop_task(
    task_id: str,
    *,
    by: str,
    viewer: Viewer | None = None,
    reason: str = "user",
    wait: float = 0.0,
) -> Task:
    """Ask a task to stop and return it as it then is: canceled, or canceling until acknowledged.

    What it has started, and what that has, is stopped with it (reason `parent`).
    `by` is a username or "system"; `wait` is how many seconds the acknowledgement is waited for.
    Raises TaskNotFound, NotAllowed, AlreadyFinished, StoreUnavailable.
    """
    await _check(task_id, viewer)
    call = scripts.stop(keys.current().prefix, task_id=task_id, by=by, reason=reason)
    code = await client.arun(call)
    if code is StopCode.MISSING:
        raise TaskNotFound
    if code is StopCode.FINISHED:
        raise AlreadyFinished
    if code is StopCode.CANCELING and wait > 0:
        return await wait_task(task_id, wait)
    return await inspect.get_task(task_id)


def stop_task_sync(task_id: str, *, by: str, reason: str = "user") -> StopCode:
    """Ask a task to stop from synchronous, trusted code (the admin); never waits."""
    return client.run(scripts.stop(keys.current().prefix, task_id=task_id, by=by, reason=reason))


def stop_tasks_sync(task_ids: Sequence[str], *, by: str, reason: str = "user") -> list[StopCode]:
    """Ask tasks to stop, all in one round trip; never waits. The codes are in the ids' order."""
    prefix = keys.current().prefix
    calls = [scripts.stop(prefix, task_id=i, by=by, reason=reason) for i in task_ids]
    return client.run_all(calls) if calls else []


async def stop_item(
    item_id: str, *, by: str, viewer: Viewer | None = None, reason: str = "user"
) -> list[str]:
    """Stop all unfinished tasks of an item that the viewer may act on; answer their ids.

    Repeats until no task of the item is left that was not asked to stop. What the stopped tasks
    still enqueue while they end is their child, and canceled before it starts.
    """
    stopped: dict[str, None] = {}
    prefix = keys.current().prefix
    for _ in range(ROUNDS):
        ids = await inspect.unfinished_ids(viewer, item_id)
        fresh = [i for i in await _actable(ids, viewer) if i not in stopped]
        if not fresh:
            break
        calls = [scripts.stop(prefix, task_id=i, by=by, reason=reason) for i in fresh]
        await client.arun_all(calls)
        stopped.update(dict.fromkeys(fresh))
    return list(stopped)


async def _actable(ids: list[str], viewer: Viewer | None) -> list[str]:
    if viewer is None or viewer.can_change_all or not ids:
        return ids
    owners = await client.arun_all([store.owner(keys.current(), i) for i in ids])
    return [i for i, (_, owner) in zip(ids, owners, strict=True) if viewer.may_act_on(owner)]


async def _check(task_id: str, viewer: Viewer | None) -> None:
    if not inspect.VALID_ID.match(task_id):
        raise TaskNotFound
    if viewer is None:
        return
    there, owner = await client.arun(store.owner(keys.current(), task_id))
    if not there or not viewer.may_see(owner):
        raise TaskNotFound
    if not viewer.may_act_on(owner):
        raise NotAllowed
