"""Parents and children: stopped together, waited for, their progress added up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasks_app import api, gather
from tasks_app.domain.context import current_task_id
from tasks_app.domain.states import TaskState
from tasks_app.errors import TaskFailed, TaskNotFound
from tasks_app.store import client, keys, scripts
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually


async def running_tasks(count: int) -> list[api.Task]:
    """Wait until exactly so many tasks are running, and return them, oldest first."""

    async def check() -> list[api.Task]:
        tasks = (await api.list_tasks(only=api.Filter(status="running"), limit=200)).tasks[::-1]
        assert len(tasks) == count
        return tasks

    return await eventually(check)


async def test_stopping_the_parent_stops_the_children_and_theirs(worker: Worker) -> None:
    root = await api.enqueue_task(sample_tasks.start_children_and_wait, args=(3,))
    family = await running_tasks(4)
    assert [task.parent_id for task in family] == [None, *(task.id for task in family[:-1])]
    await api.stop_task(root.id, by="alice", wait=5)
    ended = await asyncio.gather(*(api.wait_task(task.id, 5) for task in family))
    assert {task.status for task in ended} == {TaskState.CANCELED}
    assert [(task.stopped_by, task.reason) for task in ended] == [
        ("alice", "user"), *[("alice", "parent")] * 3,
    ]  # fmt: skip


async def test_stopping_a_child_leaves_the_parent(worker: Worker) -> None:
    root = await api.enqueue_task(sample_tasks.start_children_and_wait, args=(1,))
    _, child = await running_tasks(2)
    await api.stop_task(child.id, by="alice", wait=5)
    assert (await api.get_task(root.id)).status is TaskState.RUNNING


async def test_a_parent_with_thousands_of_children_is_stopped_in_parts(engine: None) -> None:
    prefix = keys.current().prefix
    root = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    claim = scripts.claim(prefix, instance="w", slots=1, lease=30, queues=["default"])
    [attempt] = (await client.arun(claim)).attempts
    token = current_task_id.set(root.id)
    try:
        await sample_tasks.add.aenqueue_many([((1, 2), {})] * 1200)
    finally:
        current_task_id.reset(token)
    await api.stop_task(root.id, by="alice")
    assert len(await api.unfinished_ids()) == 1 + 1200 - 500
    for _ in range(2):
        await client.arun(scripts.reap(prefix, lease=30))
    assert await api.unfinished_ids() == [root.id]
    await client.arun(
        scripts.settle(prefix, task_id=root.id, token=attempt.token, outcome="canceled")
    )
    assert await client.client().exists(keys.current().name("stopping")) == 0


async def test_a_task_waits_for_its_children_without_holding_a_slot(engine: None) -> None:
    async with running(Worker(name="test", grace=0.2, concurrency=1)):
        task = await api.enqueue_task(sample_tasks.sum_of_children, args=([1, 2, 3, 4],))
        ended = await api.wait_task(task.id, 10)
    assert (ended.status, ended.result) == (TaskState.SUCCEEDED, 10)


async def test_gather_answers_in_order_and_raises_what_failed(worker: Worker) -> None:
    first = await sample_tasks.add.aenqueue(1, 2)
    bad = await sample_tasks.fail.aenqueue()
    assert await gather(first, first.id) == [3, 3]
    with pytest.raises(TaskFailed, match="ended as failed") as caught:
        await gather(first, bad)
    assert caught.value.__notes__ == ["ValueError: the reason"]
    found = await gather(bad, first, return_exceptions=True)
    assert isinstance(found[0], TaskFailed)
    assert found[1] == 3
    with pytest.raises(TaskNotFound):
        await gather("nobody")
    assert await gather() == []


async def test_gather_has_a_deadline_and_the_tasks_go_on(worker: Worker) -> None:
    waiting = await sample_tasks.wait_for_stop.aenqueue()
    with pytest.raises(TimeoutError):
        await gather(waiting, timeout=0.05)
    await running_tasks(1)


async def test_the_parents_progress_is_the_childrens(worker: Worker) -> None:
    root = await api.enqueue_task(sample_tasks.start_and_wait, args=(4,))

    async def progress(expected: float) -> None:
        async def check() -> bool:
            assert (await api.get_task(root.id)).progress == pytest.approx(expected)
            return True

        await eventually(check)

    await progress(0.5)
    children = [task for task in await running_tasks(5) if task.parent_id == root.id]
    await api.stop_task(children[0].id, by="alice", wait=5)
    await progress(0.625)
    await api.stop_task(children[1].id, by="alice", wait=5)
    await progress(0.75)


async def test_a_retried_childs_progress_is_taken_back(engine: None) -> None:
    prefix = keys.current().prefix

    async def claim() -> Any:
        call = scripts.claim(prefix, instance="w", slots=1, lease=30, queues=["default"])
        return (await client.arun(call)).attempts[0]

    root = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    await claim()
    token = current_task_id.set(root.id)
    child = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    current_task_id.reset(token)
    attempt = await claim()
    flush = scripts.Flush(number=1, text="", progress=0.8, message="", events=())
    await client.arun(scripts.emit(prefix, task_id=child.id, token=attempt.token, flush=flush))
    assert (await api.get_task(root.id)).progress == pytest.approx(0.8)
    await client.arun(
        scripts.settle(prefix, task_id=child.id, token=attempt.token, outcome="release")
    )
    await claim()
    assert (await api.get_task(root.id)).progress == pytest.approx(0.0)


async def test_a_detached_task_is_no_child(worker: Worker) -> None:
    token = current_task_id.set("somebody")
    try:
        plain = await api.enqueue_task(sample_tasks.add, args=(1, 2))
        free = await api.enqueue_task(sample_tasks.add.using(detached=True), args=(1, 2))
    finally:
        current_task_id.reset(token)
    assert (plain.parent_id, free.parent_id) == ("somebody", None)


async def test_the_note_of_children_goes_with_the_parent(worker: Worker) -> None:
    task = await api.enqueue_task(sample_tasks.sum_of_children, args=([1, 2],))
    await api.wait_task(task.id, 10)
    await client.arun(scripts.prune(keys.current().prefix, retention=-1))
    assert await client.client().keys(f"{keys.current().name('children')}*") == []


async def test_grandchildren_count_once_towards_the_whole(engine: None) -> None:
    prefix = keys.current().prefix
    tokens: dict[str, str] = {}

    async def started(parent: str = "") -> str:
        held = current_task_id.set(parent)
        task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
        current_task_id.reset(held)
        call = scripts.claim(prefix, instance="w", slots=1, lease=30, queues=["default"])
        [attempt] = (await client.arun(call)).attempts
        tokens[task.id] = attempt.token
        return task.id

    async def end(task_id: str) -> None:
        call = scripts.settle(
            prefix, task_id=task_id, token=tokens[task_id], outcome="succeeded", result="1"
        )
        await client.arun(call)

    root = await started()
    children = [await started(root), await started(root)]
    grandchild = await started(children[0])
    for done, progress in ((grandchild, 0.5), (children[0], 0.5), (children[1], 1.0)):
        await end(done)
        assert (await api.get_task(root)).progress == pytest.approx(progress)
