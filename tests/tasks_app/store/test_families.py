"""Parents and keys together: who succeeds whom, who is stopped with whom, who is left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasks_app import api
from tasks_app.definition import TaskDefinition
from tasks_app.domain.context import current_task_id
from tasks_app.domain.records import Claimed
from tasks_app.domain.states import TaskState
from tasks_app.store import client, keys, scripts
from tests import sample_tasks
from tests.tasks_app.store.test_task_keys import (
    LEASE,
    assert_no_keys_are_left,
    claim,
    enqueue,
    settle,
    status,
)

PLAIN = sample_tasks.add
NEWEST = sample_tasks.add.using(supersede_key="chat-1")
ONE = sample_tasks.add.using(unique_key="report-7")
LATER = sample_tasks.add.using(debounce=60, debounce_key="doc")
CANCELED = TaskState.CANCELED


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


async def by(parent: api.Task | None, definition: TaskDefinition[..., Any], *args: int) -> api.Task:
    """Enqueue as the function of `parent` does; nobody's child without one."""
    token = current_task_id.set(parent.id if parent else "")
    try:
        return await enqueue(definition, *(args or (1, 2)))
    finally:
        current_task_id.reset(token)


async def begin(
    parent: api.Task | None, definition: TaskDefinition[..., Any] = PLAIN
) -> tuple[api.Task, Claimed]:
    task = await by(parent, definition)
    [attempt] = await claim()
    assert attempt.id == task.id
    return task, attempt


async def reap() -> None:
    await client.arun(scripts.reap(keys.current().prefix, lease=LEASE))


async def parent_of(task: api.Task) -> str | None:
    return (await api.get_task(task.id)).parent_id


async def end_all(*attempts: Claimed) -> None:
    for attempt in (*attempts, *await claim()):
        await settle(attempt)
    await assert_no_keys_are_left()


# --- succession ----------------------------------------------------------------------------------


async def test_who_supersedes_its_own_parent_succeeds_it() -> None:
    old, attempt = await begin(None, NEWEST)
    new = await by(old, NEWEST)
    assert new.parent_id is None
    assert await parent_of(new) is None
    stopped = await api.get_task(old.id)
    assert (stopped.status, stopped.reason) == (TaskState.CANCELING, "superseded")
    await settle(attempt)
    assert (await status(old.id), await status(new.id)) == (CANCELED, TaskState.QUEUED)
    await end_all()
    assert await status(new.id) is TaskState.SUCCEEDED


async def test_who_supersedes_an_ancestor_stands_beside_it() -> None:
    root, first = await begin(None)
    old, second = await begin(root, NEWEST)
    between, third = await begin(old)
    new = await by(between, NEWEST)
    assert new.parent_id == root.id
    assert [await status(task.id) for task in (old, between)] == [TaskState.CANCELING] * 2
    for attempt in (second, third):
        await settle(attempt)
    assert [await status(t.id) for t in (root, new)] == [TaskState.RUNNING, TaskState.QUEUED]
    await api.stop_task(root.id, by="alice")
    assert await status(new.id) is CANCELED
    await end_all(first)


async def test_a_successor_is_superseded_in_its_turn() -> None:
    old, attempt = await begin(None, NEWEST)
    new = await by(old, NEWEST)
    late = await by(old, NEWEST)  # it is being stopped: what it starts now takes nobody's place
    assert [await status(t.id) for t in (new, late)] == [TaskState.QUEUED, CANCELED]
    newest = await by(None, NEWEST)
    assert [await status(t.id) for t in (new, newest)] == [CANCELED, TaskState.QUEUED]
    await end_all(attempt)


# --- what somebody starts who is being stopped ---------------------------------------------------


@pytest.mark.parametrize("is_settled", [False, True])
async def test_what_a_stopped_task_enqueues_touches_nobody(is_settled: bool) -> None:
    parent, attempt = await begin(None)
    theirs = {d: await by(None, d, 1, 1) for d in (NEWEST, ONE, LATER)}
    await api.stop_task(parent.id, by="alice")
    if is_settled:
        await settle(attempt)
    before = {task.id: await api.get_task(task.id) for task in theirs.values()}
    for definition in (NEWEST, ONE, LATER):
        late = await by(parent, definition, 5, 5)
        assert late.id not in before
        assert (late.status, late.parent_id) == (CANCELED, parent.id)
        ended = await api.get_task(late.id)
        assert (ended.stopped_by, ended.reason) == ("alice", "parent")
    assert {task_id: await api.get_task(task_id) for task_id in before} == before
    assert (await by(None, ONE)).id == theirs[ONE].id
    assert (await by(None, LATER)).id == theirs[LATER].id


async def test_what_an_ended_task_of_a_stopped_line_enqueues_is_canceled() -> None:
    root, first = await begin(None)
    middle, second = await begin(root)
    await settle(second)
    await api.stop_task(root.id, by="alice")
    late = await by(middle, NEWEST)
    assert (late.status, late.parent_id) == (CANCELED, root.id)
    await end_all(first)


# --- tasks of several owners ---------------------------------------------------------------------


@pytest.mark.parametrize("definition", [ONE, LATER])
async def test_what_somebody_else_asked_for_too_outlives_its_parent(
    definition: TaskDefinition[..., Any],
) -> None:
    parent, attempt = await begin(None)
    other, another = await begin(None)
    child = await by(parent, definition)
    assert (await by(other, definition)).id == child.id
    assert await parent_of(child) is None
    for task in (parent, other):
        await api.stop_task(task.id, by="alice")
    assert not (await api.get_task(child.id)).is_finished
    await api.stop_task(child.id, by="alice")
    await end_all(attempt, another)


@pytest.mark.parametrize("definition", [ONE, LATER])
async def test_what_nobodys_child_asked_for_too_outlives_its_parent(
    definition: TaskDefinition[..., Any],
) -> None:
    parent, attempt = await begin(None)
    child = await by(parent, definition)
    assert (await by(None, definition)).id == child.id
    await api.stop_task(parent.id, by="alice")
    assert not (await api.get_task(child.id)).is_finished
    await api.stop_task(child.id, by="alice")
    await end_all(attempt)


async def test_what_a_family_shares_is_stopped_with_all_of_it() -> None:
    root, first = await begin(None)
    one, second = await begin(root)
    other, third = await begin(root)
    shared = await by(one, ONE)
    for owner in (one, shared, other):
        assert (await by(owner, ONE)).id == shared.id
    assert await parent_of(shared) == root.id
    await api.stop_task(one.id, by="alice")
    assert await status(shared.id) is TaskState.QUEUED
    await api.stop_task(root.id, by="alice")
    assert await status(shared.id) is CANCELED
    await end_all(first, second, third)


async def test_who_asks_again_for_its_own_child_keeps_it() -> None:
    parent, attempt = await begin(None)
    child = await by(parent, ONE)
    assert (await by(parent, ONE)).id == child.id
    assert await parent_of(child) == parent.id
    await end_all(attempt)


async def test_who_asks_for_what_is_stopped_with_its_canceled_parent_changes_nothing() -> None:
    parent = await by(None, PLAIN.using(queue_name="nobodys"))
    child, attempt = await begin(parent, ONE)
    await api.stop_task(parent.id, by="alice")
    assert (await by(None, ONE)).id == child.id
    assert await parent_of(child) == parent.id
    assert await status(child.id) is TaskState.CANCELING
    await end_all(attempt)


async def test_a_child_that_still_waits_to_be_handed_over_is_shared_like_any() -> None:
    root, first = await begin(None)
    middle, second = await begin(root)
    definitions = [PLAIN.using(unique_key=f"report-{number}") for number in range(520)]
    children = [await by(middle, one) for one in definitions]
    await settle(second)  # hands over 500 of them
    parents = [await parent_of(child) for child in children]
    left = parents.index(middle.id)
    assert (await by(None, definitions[left])).id == children[left].id
    assert await parent_of(children[left]) is None
    await reap()
    await api.stop_task(root.id, by="alice")
    for _ in range(3):
        await reap()
    assert await api.unfinished_ids() == sorted([root.id, children[left].id])
    await end_all(first)


async def test_a_shared_childs_progress_is_its_parents_no_more() -> None:
    parent, attempt = await begin(None)
    prefix = keys.current().prefix
    child, second = await begin(parent, ONE)
    flush = scripts.Flush(number=1, text="", progress=0.5, message="", events=())
    await client.arun(scripts.emit(prefix, task_id=child.id, token=second.token, flush=flush))
    assert (await api.get_task(parent.id)).progress == pytest.approx(0.5)
    await by(None, ONE)
    _, third = await begin(parent)
    await client.arun(scripts.emit(prefix, task_id=third.id, token=third.token, flush=flush))
    await settle(third)
    assert (await api.get_task(parent.id)).progress == pytest.approx(1.0)
    await end_all(attempt, second)


# --- orphans -------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
async def test_children_of_who_has_ended_are_stopped_with_its_parent(outcome: str) -> None:
    root, first = await begin(None)
    middle, second = await begin(root)
    lower, third = await begin(middle)
    waiting = await by(lower, PLAIN)
    await settle(third, outcome)
    await settle(second, outcome)
    assert await parent_of(waiting) == root.id
    late = await by(lower, PLAIN)
    assert late.parent_id == root.id
    await api.stop_task(root.id, by="alice")
    ended = [await api.get_task(task.id) for task in (waiting, late)]
    assert {(t.status, t.stopped_by, t.reason) for t in ended} == {(CANCELED, "alice", "parent")}
    assert await status(middle.id) is TaskState(outcome)
    await end_all(first)


async def test_children_of_who_has_ended_count_for_its_parents_progress() -> None:
    root, first = await begin(None)
    _, second = await begin(root)
    child, third = await begin(await api.get_task(second.id))
    flush = scripts.Flush(number=1, text="", progress=0.5, message="", events=())
    call = scripts.emit(keys.current().prefix, task_id=child.id, token=third.token, flush=flush)
    await client.arun(call)
    await settle(second)
    assert (await api.get_task(root.id)).progress == pytest.approx(0.75)
    await settle(third)
    assert (await api.get_task(root.id)).progress == pytest.approx(1.0)
    await end_all(first)


async def test_a_thousand_children_of_who_has_ended_are_handed_over_in_parts() -> None:
    root, first = await begin(None)
    middle, second = await begin(root)
    token = current_task_id.set(middle.id)
    try:
        await PLAIN.aenqueue_many([((1, 2), {})] * 1200)
    finally:
        current_task_id.reset(token)
    await settle(second)
    await api.stop_task(root.id, by="alice")
    for _ in range(6):
        await reap()
    assert await api.unfinished_ids() == [root.id]
    assert await client.client().exists(keys.current().name("stopping")) == 0
    await end_all(first)


# --- expiry --------------------------------------------------------------------------------------


async def test_who_waits_for_a_slot_expires_in_time() -> None:
    limited = PLAIN.using(concurrency_key="model", concurrency=1)
    _, attempt = await begin(None, limited)
    waiting = await by(None, limited.using(expires_in=60))
    after = await by(None, limited)
    assert await claim() == []  # put aside
    await let_expire(waiting)
    await reap()
    ended = await api.get_task(waiting.id)
    assert ended.status is TaskState.FAILED
    assert ended.error is not None
    assert ended.error["type"] == "TaskExpired"
    await settle(attempt)
    [attempt] = await claim()
    assert attempt.id == after.id
    await end_all(attempt)


async def test_who_waits_for_a_worker_expires_in_time_and_who_has_started_does_not() -> None:
    waiting = await by(None, PLAIN.using(expires_in=60, queue_name="nobodys"))
    started, attempt = await begin(None, PLAIN.using(expires_in=60))
    for task in (waiting, started):
        await let_expire(task)
    await reap()
    assert [await status(t.id) for t in (waiting, started)] == [
        TaskState.FAILED, TaskState.RUNNING,
    ]  # fmt: skip
    await settle(attempt, "retry")
    await reap()
    assert await status(started.id) is TaskState.SCHEDULED
    await end_all()
    assert await client.client().exists(keys.current().name("expiring")) == 0


async def let_expire(task: api.Task) -> None:
    names = keys.current()
    await client.client().hset(names.task(task.id), "expires", "5")
    await client.client().zadd(names.name("expiring"), {task.id: 5}, xx=True)
