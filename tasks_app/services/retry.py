"""Retries a task by hand: a new one with the arguments of one that ended badly."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tasks_app import conf
from tasks_app.domain.records import NewTask, Task, Viewer
from tasks_app.domain.states import TaskState
from tasks_app.errors import NotAllowed, NotRetryable, TaskNotFound
from tasks_app.services import enqueue, inspect
from tasks_app.store import client, keys
from tasks_app.store import tasks as store

RETRYABLE = frozenset({TaskState.FAILED, TaskState.CANCELED})


async def retry_task(task_id: str, viewer: Viewer | None = None) -> Task:
    """Enqueue a new task with the arguments and the place of a failed or canceled one.

    Its `retried_from` names the old one, which stays as it is; its limit is kept, its other keys
    are not. `viewer` None is a trusted caller. Raises TaskNotFound, NotAllowed, NotRetryable,
    StoreUnavailable.
    """
    if not inspect.VALID_ID.match(task_id):
        raise TaskNotFound
    fields = await client.arun(store.fields(keys.current(), task_id))
    return await enqueue.send(_again(task_id, fields, viewer))


def retry_task_sync(task_id: str, viewer: Viewer | None = None) -> Task:
    """Do as `retry_task`, from synchronous code (the admin)."""
    if not inspect.VALID_ID.match(task_id):
        raise TaskNotFound
    fields = client.run(store.fields(keys.current(), task_id))
    return enqueue.send_sync(_again(task_id, fields, viewer))


def _again(task_id: str, fields: Mapping[str, str], viewer: Viewer | None) -> NewTask:
    old = store.decode(task_id, fields)
    if old is None or (viewer is not None and not viewer.may_see(old.user_id)):
        raise TaskNotFound
    if viewer is not None and not viewer.may_act_on(old.user_id):
        raise NotAllowed
    if old.status not in RETRYABLE:
        raise NotRetryable(f"The task is {old.status.value}: only failed or canceled ones can be.")
    if not old.path or not fields.get("payload"):
        raise NotRetryable("A coroutine cannot be started again: only registered tasks can be.")
    timeout = store.number(fields.get("timeout"))
    return NewTask(
        id=os.urandom(16).hex(),
        path=old.path,
        name=old.name,
        payload=fields["payload"],
        queue=old.queue,
        priority=old.priority,
        item_id=old.item_id or "",
        user_id=old.user_id or "",
        timeout=timeout if timeout and timeout > 0 else None,
        max_deliveries=int(store.number(fields.get("max_deliveries")) or conf.max_deliveries()),
        backend=old.backend,
        retried_from=task_id,
        concurrency_key=fields.get("limit_key", ""),
        concurrency=int(store.number(fields.get("limit")) or 1),
    )
