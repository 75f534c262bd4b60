"""Retries a task by hand: a new one with the arguments of one that ended badly."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tasks_app import conf
from tasks_app.domain.codec import dumps
from tasks_app.domain.records import NewTask, Task, Viewer
from tasks_app.domain.retry import from_text
from tasks_app.domain.states import TaskState
from tasks_app.errors import NotAllowed, NotRetryable, TaskNotFound, TasksError
from tasks_app.services import enqueue, inspect
from tasks_app.services.inspect import Filter
from tasks_app.store import client, keys
from tasks_app.store import tasks as store

RETRYABLE = frozenset({TaskState.FAILED, TaskState.CANCELED})
AT_ONCE = 50  # tasks in one round trip: each may be as large as TASK_MAX_PAYLOAD_BYTES
MOST_AT_ONCE = 10_000  # failed tasks that one call retries


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What became of the failed tasks: the new ones, and how many were left as they are."""

    tasks: list[Task]
    before: int  # had been retried before
    impossible: int  # coroutines, and records that are damaged


def is_retryable(task: Task) -> bool:
    """Return whether a task, as it stands, can be retried by hand."""
    return task.status in RETRYABLE and bool(task.path)


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


def retry_tasks_sync(task_ids: Sequence[str]) -> list[Task | TasksError]:
    """Retry tasks for trusted code; answer the new one, or the refusal, of each in order."""
    answers: list[Task | TasksError] = []
    for first in range(0, len(task_ids), AT_ONCE):
        part = task_ids[first : first + AT_ONCE]
        asked = [_again_or_refusal(*known) for known in zip(part, _records(part), strict=True)]
        made = iter(enqueue.send_many_sync([one for one in asked if isinstance(one, NewTask)]))
        answers += [next(made) if isinstance(one, NewTask) else one for one in asked]
    return answers


def retry_failed_sync(only: Filter | None = None, limit: int = MOST_AT_ONCE) -> Retried:
    """Retry up to `limit` of the tasks that failed for good, the newest first, for trusted code.

    Each once: what was retried before, by whomever, is left out, so it can be repeated. Raises
    StoreUnavailable; then some may have been retried, and the next call goes on.
    """
    names, only = keys.current(), only or Filter()
    tasks: list[Task] = []
    before, impossible = 0, 0
    place: int | None = None
    while len(tasks) < limit:
        size = min(AT_ONCE, limit - len(tasks))
        rows = client.run(store.page_failed(names, place, size))
        new: list[NewTask] = []
        ids = [task_id for task_id, _ in rows]
        for task_id, fields in zip(ids, _records(ids), strict=True):
            old = store.decode(task_id, fields)
            if old is None or not replace(only, status=None).matches(old):
                continue
            if fields.get("retried_as"):
                before += 1
                continue
            asked = _again_or_refusal(task_id, fields)
            if isinstance(asked, NewTask):
                # Two who do this at once get the same new tasks.
                new.append(replace(asked, unique_key=dumps(["retry", task_id])))
            else:
                impossible += 1
        tasks += enqueue.send_many_sync(new)
        if len(rows) < size:
            break
        place = rows[-1][1]
    return Retried(tasks=tasks, before=before, impossible=impossible)


def _records(task_ids: Sequence[str]) -> list[dict[str, str]]:
    names = keys.current()
    known = [task_id for task_id in task_ids if inspect.VALID_ID.match(task_id)]
    read = client.run_all([store.fields(names, task_id) for task_id in known]) if known else []
    records = dict(zip(known, read, strict=True))
    return [records.get(task_id, {}) for task_id in task_ids]


def _again_or_refusal(task_id: str, fields: Mapping[str, str]) -> NewTask | TasksError:
    try:
        return _again(task_id, fields, None)
    except (TaskNotFound, NotRetryable) as error:
        return error


def _again(task_id: str, fields: Mapping[str, str], viewer: Viewer | None) -> NewTask:
    old = store.decode(task_id, fields)
    if old is None or (viewer is not None and not viewer.may_see(old.user_id)):
        raise TaskNotFound
    if viewer is not None and not viewer.may_act_on(old.user_id):
        raise NotAllowed
    if old.status not in RETRYABLE:
        raise NotRetryable(
            f"The task is {old.status.value}: only failed or canceled ones can be retried."
        )
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
        retry=from_text(fields.get("retry", "")),
        in_thread=fields.get("in_thread") == "1",
        concurrency_key=fields.get("limit_key", ""),
        concurrency=int(store.number(fields.get("limit")) or 1),
    )
