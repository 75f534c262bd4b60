"""Reads tasks for those who may see them: one, a page of many, the unfinished ones, the workers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime

from tasks_app import conf
from tasks_app.domain.records import Task, Viewer
from tasks_app.domain.states import TaskState
from tasks_app.errors import TaskNotFound
from tasks_app.store import client, keys
from tasks_app.store import tasks as store
from tasks_app.store.scripts import Call

VALID_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
CURSOR = re.compile(r"[0-9]{1,18}\Z")
SCAN_LIMIT = 2000  # records looked at for one page; a page may then be short, its cursor goes on
BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which tasks a list shows; None shows all."""

    status: str | None = None
    name: str | None = None
    queue: str | None = None
    item_id: str | None = None

    def matches(self, task: Task) -> bool:
        return all(
            wanted is None or wanted == found
            for wanted, found in (
                (self.status, task.status.value),
                (self.name, task.name),
                (self.queue, task.queue),
                (self.item_id, task.item_id),
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Tasks, newest first; `next_cursor` asks for the following ones, None at the end."""

    tasks: list[Task]
    next_cursor: str | None


async def find(task_id: str) -> Task | None:
    if not VALID_ID.match(task_id):
        return None
    return await client.arun(store.get(keys.current(), task_id))


def find_sync(task_id: str) -> Task | None:
    if not VALID_ID.match(task_id):
        return None
    return client.run(store.get(keys.current(), task_id))


async def get_task(task_id: str, viewer: Viewer | None = None) -> Task:
    """Return a task with its payload and result; `viewer` None is a trusted caller.

    Raises TaskNotFound, also for what the viewer may not see.
    """
    task = await find(task_id)
    if task is None or (viewer is not None and not viewer.may_see(task.user_id)):
        raise TaskNotFound
    return task


async def summaries(task_ids: list[str]) -> list[Task]:
    """Return the tasks without payloads and results, in order; those that are gone are left out."""
    if not task_ids:
        return []
    found = await client.arun_all([store.get_summary(keys.current(), i) for i in task_ids])
    return [task for task in found if task is not None]


async def with_results(tasks: list[Task]) -> list[Task]:
    """Return the tasks of a list with the results of those that succeeded."""
    ended = [task for task in tasks if task.status is TaskState.SUCCEEDED]
    if not ended:
        return tasks
    found = await client.arun_all([store.result(keys.current(), task.id) for task in ended])
    results = {task.id: result for task, result in zip(ended, found, strict=True)}
    return [replace(task, result=results.get(task.id)) for task in tasks]


async def list_tasks(
    *,
    viewer: Viewer | None = None,
    only: Filter | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """Return a page of the tasks the viewer may see, newest first, without payloads and results.

    At most SCAN_LIMIT records are looked at: with rare matches a page is short or empty and its
    cursor goes on. A cursor that is no number begins at the newest.
    """
    index = None if viewer is None or viewer.can_view_all else viewer.user_id
    before = int(cursor) if cursor is not None and CURSOR.match(cursor) else None
    only = only or Filter()
    shown: list[Task] = []
    for _ in range(SCAN_LIMIT // BATCH):
        rows = await client.arun(_page(only, index, before))
        places = dict(rows)
        for task in await summaries(list(places)):
            if only.matches(task):
                shown.append(task)
                if len(shown) == limit:
                    return Page(tasks=shown, next_cursor=str(places[task.id]))
        if len(rows) < BATCH:
            return Page(tasks=shown, next_cursor=None)
        before = rows[-1][1]
    return Page(tasks=shown, next_cursor=str(before))


def _page(only: Filter, index: str | None, before: int | None) -> Call[list[tuple[str, int]]]:
    # The failed ones of all users have an index: they may be few among millions.
    if only.status == TaskState.FAILED and index is None:
        return store.page_failed(keys.current(), before, BATCH)
    return store.page(keys.current(), index, before, BATCH)


async def unfinished_ids(viewer: Viewer | None = None, item_id: str | None = None) -> list[str]:
    """Return the ids of unfinished tasks (of one item) that the viewer may see."""
    names = keys.current()
    call: Call[list[str]]
    call = store.unfinished(names) if item_id is None else store.unfinished_of_item(names, item_id)
    found = await client.arun(call)
    ids = sorted(found)
    if viewer is None or viewer.can_view_all:
        return ids
    owners = await client.arun_all([store.owner(names, task_id) for task_id in ids])
    return [
        i for i, (there, owner) in zip(ids, owners, strict=True) if there and viewer.may_see(owner)
    ]


async def ping() -> None:
    """Raise StoreUnavailable when Redis does not answer."""
    await client.arun(store.server_time())


async def workers_alive() -> int:
    """Return how many workers have been heard of recently enough to count as alive."""
    now, rows = await client.arun_all([store.server_time(), store.workers(keys.current())])
    oldest = now - conf.worker_silence_seconds() * 1000
    return sum(1 for _, seen in rows if seen >= oldest)


async def is_served(queue: str) -> bool:
    """Return whether a worker of the queue counts as alive."""
    calls: list[Call[int]] = [store.server_time(), store.newest_heartbeat(keys.current(), queue)]
    now, heard = await client.arun_all(calls)
    return bool(heard >= now - conf.worker_silence_seconds() * 1000)


async def is_served_since(queue: str, moment: datetime) -> bool:
    """Return whether a heartbeat of one of the queue's workers came after the moment."""
    heard = await client.arun(store.newest_heartbeat(keys.current(), queue))
    return heard > moment.timestamp() * 1000  # both by Redis' clock
