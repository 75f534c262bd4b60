"""Removes finished tasks before their retention has passed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from tasks_app.domain.states import TaskState
from tasks_app.services.inspect import VALID_ID
from tasks_app.store import client, keys, scripts
from tasks_app.store import tasks as store
from tasks_app.store.scripts import PurgeCode

READ_AT_ONCE = 500
REMOVED_AT_ONCE = 200  # in one script: no other client waits longer than for a few of them


def finished_ids_sync(*, states: Collection[TaskState] = (), older_than: float = 0.0) -> list[str]:
    """Return the ids of tasks that ended at least `older_than` seconds ago, the oldest first.

    `states` are those in which they ended; none means any. Tasks that are pruned at the same time
    may hide others from it.
    """
    names = keys.current()
    until = client.run(store.server_time()) - int(older_than * 1000)
    found: list[str] = []
    offset = 0
    while True:
        ids = client.run(store.slice_finished(names, until, offset, READ_AT_ONCE))
        if not states:
            found += ids
        elif ids:
            ended = client.run_all([store.status(names, task_id) for task_id in ids])
            found += [i for i, state in zip(ids, ended, strict=True) if state in states]
        if len(ids) < READ_AT_ONCE:
            return found
        offset += READ_AT_ONCE


def purge_tasks_sync(task_ids: Sequence[str]) -> list[PurgeCode]:
    """Remove those of the tasks that are finished, for trusted code; one code per id, in order."""
    prefix = keys.current().prefix
    codes: list[PurgeCode] = []
    for part in _parts(task_ids):
        known = [task_id for task_id in part if VALID_ID.match(task_id)]
        answers = client.run(scripts.purge(prefix, task_ids=known)) if known else []
        became = dict(zip(known, answers, strict=True))
        codes += [became.get(task_id, PurgeCode.MISSING) for task_id in part]
    return codes


def _parts(task_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(task_ids), REMOVED_AT_ONCE):
        yield task_ids[first : first + REMOVED_AT_ONCE]
