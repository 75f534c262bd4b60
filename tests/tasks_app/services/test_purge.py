"""Removing finished tasks by hand: all that is theirs, and never an unfinished one."""

from __future__ import annotations

from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.context import current_task_id
from tasks_app.domain.states import FINAL, TaskState
from tasks_app.store import client, keys, scripts
from tests import sample_tasks
from tests.tasks_app.services.test_retry import claim, enqueue, failed, settle
from tests.tasks_app.store.test_transitions import task_in

GONE, NONE, KEPT = api.PurgeCode.REMOVED, api.PurgeCode.MISSING, api.PurgeCode.UNFINISHED


@pytest.mark.parametrize("state", list(TaskState))
async def test_only_finished_tasks_are_removed(engine: None, state: TaskState) -> None:
    task_id, _ = await task_in(state)
    call = scripts.purge(keys.current().prefix, task_ids=[task_id])
    assert await client.arun(call) == [GONE if state in FINAL else KEPT]
    assert bool(await client.client().exists(keys.current().task(task_id))) is (state not in FINAL)


def test_everything_that_is_theirs_goes(redis_prefix: str) -> None:
    ids = [failed(item_id="chat", user_id="7") for _ in range(3)]
    ids.append(enqueue(user_id="7"))
    settle(claim()[0], "succeeded")
    assert api.purge_tasks_sync([*ids, "nope", "../x"]) == [GONE] * 4 + [NONE] * 2
    left = client.run(scripts.Call(list, ("KEYS", f"{redis_prefix}:*")))
    assert set(left) <= {f"{redis_prefix}:{name}" for name in ("sequence", "queues", "claims:w")}


def test_it_goes_in_parts_and_answers_in_order(monkeypatch: Any) -> None:
    monkeypatch.setattr("tasks_app.services.purge.REMOVED_AT_ONCE", 3)
    ids = [failed() for _ in range(7)]
    waiting = enqueue()
    assert api.purge_tasks_sync([waiting, *ids, "nope"]) == [KEPT, *[GONE] * 7, NONE]
    assert api.purge_tasks_sync([]) == []


def test_finished_ones_are_found_by_state_and_age(monkeypatch: Any) -> None:
    monkeypatch.setattr("tasks_app.services.purge.READ_AT_ONCE", 2)
    bad = [failed() for _ in range(5)]
    good = enqueue()
    settle(claim()[0], "succeeded")
    enqueue()
    long_ago = client.run(scripts.Call(int, ("ZADD", keys.current().name("finished"), 1, bad[4])))
    assert long_ago == 0
    assert set(api.finished_ids_sync()) == {*bad, good}
    assert set(api.finished_ids_sync(states={TaskState.FAILED})) == set(bad)
    assert api.finished_ids_sync(states={TaskState.SUCCEEDED, TaskState.LOST}) == [good]
    assert api.finished_ids_sync(older_than=3600) == [bad[4]]
    assert api.finished_ids_sync(states={TaskState.SUCCEEDED}, older_than=3600) == []


async def test_a_task_whose_children_still_have_to_be_stopped_stays(engine: None) -> None:
    root = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    prefix = keys.current().prefix
    claiming = scripts.claim(prefix, instance="w", slots=1, lease=30, queues=["default"])
    [held] = (await client.arun(claiming)).attempts
    token = current_task_id.set(root.id)
    try:
        await sample_tasks.add.aenqueue_many([((1, 2), {})] * 600)
    finally:
        current_task_id.reset(token)
    await api.stop_task(root.id, by="ada")
    await client.arun(scripts.settle(prefix, task_id=root.id, token=held.token, outcome="canceled"))
    purge = scripts.purge(prefix, task_ids=[root.id])
    assert await client.arun(purge) == [KEPT]
    while await client.client().exists(keys.current().name("stopping")):
        assert await client.arun(purge) == [KEPT]
        await client.arun(scripts.reap(prefix, lease=30))
    assert await api.unfinished_ids() == []
    assert await client.arun(purge) == [GONE]
