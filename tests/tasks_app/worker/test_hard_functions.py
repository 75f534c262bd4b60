"""Functions that raise, swallow and ignore: each ends its task, none hurts the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from tasks_app import api
from tasks_app.conf import thread_pool_size
from tasks_app.domain.states import TaskState
from tasks_app.services import enqueue, inspect
from tasks_app.store import client, keys
from tasks_app.worker import exchange as exchange_module
from tasks_app.worker import worker as worker_module
from tasks_app.worker.worker import Worker
from tests import hard_tasks, sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    hard_tasks.GO_ON.clear()
    hard_tasks.STARTED.clear()
    yield
    hard_tasks.GO_ON.set()


async def run(definition: Any, *args: Any) -> api.Task:
    task = await api.enqueue_task(definition, args=args)
    return await api.wait_task(task.id, 8)


async def said_something(task_id: str) -> None:
    async with aclosing(api.follow(task_id)) as events:
        async for event in events:
            if event.type == "token":
                return


@pytest.mark.parametrize(
    "name", ["GeneratorExit", "KeyboardInterrupt", "BaseException", "SystemExit"]
)
async def test_whatever_a_coroutine_raises_is_a_failure(worker: Worker, name: str) -> None:
    task = await run(hard_tasks.raise_by_name, name)
    assert task.error == {"type": name, "message": "odd"}
    assert (await run(sample_tasks.add, 1, 2)).result == 3


@pytest.mark.parametrize("name", ["StopIteration", "KeyboardInterrupt", "SystemExit"])
async def test_whatever_a_thread_raises_is_a_failure(worker: Worker, name: str) -> None:
    task = await run(hard_tasks.raise_in_thread, name)
    assert task.status is TaskState.FAILED
    assert (await run(sample_tasks.add_in_thread, 1, 2)).result == 3


async def test_a_swallowed_time_out_is_a_time_out(worker: Worker) -> None:
    task = await run(hard_tasks.swallow_time_out)
    assert task.error is not None
    assert (task.status, task.error["type"]) == (TaskState.FAILED, "TimeoutError")


async def test_an_ignored_time_out_is_settled_after_its_time(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "IGNORED_CANCEL_SECONDS", 0.05)
    task = await run(hard_tasks.ignore_time_out)
    assert task.error is not None
    assert (task.status, task.error["type"]) == (TaskState.FAILED, "TimeoutError")
    hard_tasks.GO_ON.set()


async def test_a_thread_sees_its_time_out(worker: Worker) -> None:
    task = await run(hard_tasks.look_for_time_out)
    assert task.error is not None
    assert (task.status, task.error["type"]) == (TaskState.FAILED, "TimeoutError")


async def hold_all_threads() -> list[api.Task]:
    holders = [await api.enqueue_task(hard_tasks.hold_a_thread) for _ in range(thread_pool_size())]
    for holder in holders:
        await said_something(holder.id)
    return holders


async def test_a_stopped_task_that_waits_for_a_thread_never_starts(worker: Worker) -> None:
    holders = await hold_all_threads()
    # As an earlier release enqueued it: without saying that it needs a thread.
    new = replace(enqueue.prepare(hard_tasks.hold_a_thread, (), {}), in_thread=False)
    waiting = await enqueue.send(new)

    async def is_running() -> bool:
        return (await api.get_task(waiting.id)).status is TaskState.RUNNING

    await eventually(is_running)
    stopped = await api.stop_task(waiting.id, by="alice", wait=5)
    assert stopped.status is TaskState.CANCELED
    hard_tasks.GO_ON.set()
    for holder in holders:
        await api.wait_task(holder.id, 5)
    assert waiting.id not in hard_tasks.STARTED


async def test_many_events_arrive_whole_and_before_the_end(worker: Worker) -> None:
    task = await api.enqueue_task(hard_tasks.emit_many, args=(4500,))
    assert (await api.wait_task(task.id, 8)).result == 4500
    output = await client.client().xrevrange(keys.current().name("output", task.id), count=100)
    assert [entry["t"] for _, entry in output[:3]] == ["end", "progress", "token"]
    numbers = [int(entry["d"]) for _, entry in output if entry["t"] == "number"]
    assert numbers == list(range(4499, 4499 - len(numbers), -1))


async def test_a_coroutine_that_ignores_the_shutdown_is_handed_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "HAND_BACK_SECONDS", 0.1)
    worker = Worker(grace=0.05)
    async with running(worker):
        task = await api.enqueue_task(hard_tasks.ignore_everything)
        await said_something(task.id)
    assert (await api.get_task(task.id)).status is TaskState.QUEUED
    assert worker.is_leaving_work_behind
    hard_tasks.GO_ON.set()

    async def all_returned() -> bool:
        return not worker.is_leaving_work_behind

    await eventually(all_returned)


async def test_shutdown_waits_for_the_claim_that_is_under_way() -> None:
    """Stopped at any moment, a worker leaves no task running without anybody who runs it."""
    for delay in range(12):
        stopping = asyncio.Event()
        work = asyncio.create_task(Worker(grace=0.5).run(stopping))
        await asyncio.sleep(0.002 * delay)
        ids = [(await api.enqueue_task(sample_tasks.add, args=(1, 2))).id for _ in range(3)]
        stopping.set()
        await work
        found = await inspect.summaries(ids)
        assert {task.status for task in found} <= {TaskState.QUEUED, TaskState.SUCCEEDED}


async def test_stopping_an_item_stops_what_its_tasks_start_while_they_end(worker: Worker) -> None:
    task = await api.enqueue_task(hard_tasks.breed_when_stopped, ask=api.Ask(item_id="chat"))
    await said_something(task.id)
    assert await api.stop_item("chat", by="alice") == [task.id]
    assert (await api.wait_task(task.id, 5)).status is TaskState.CANCELED
    child, other = (await api.list_tasks(limit=2)).tasks[::-1]
    assert (child.item_id, child.status) == ("chat", TaskState.CANCELED)
    assert (child.stopped_by, child.reason, child.parent_id) == ("alice", "parent", task.id)
    assert other.item_id == "another"
    assert not other.is_finished or other.status is TaskState.SUCCEEDED
    assert await api.unfinished_ids(item_id="chat") == []
    hard_tasks.GO_ON.set()
    await api.wait_task(other.id, 5)


async def test_every_notice_is_heeded_also_during_a_claim(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "POLL_SECONDS", 3600.0)
    for _ in range(60):
        tasks = [await api.enqueue_task(sample_tasks.add, args=(1, 2)) for _ in range(3)]
        for task in tasks:
            assert (await api.wait_task(task.id, 5)).is_finished


async def test_a_time_out_counts_from_the_begin_not_from_the_wait_for_a_thread(
    settings: Any,
) -> None:
    settings.THREAD_POOL_SIZE = 1
    limited = sample_tasks.rest_in_thread.using(timeout=1.0)
    async with running(Worker(name="test", grace=0.2)):
        tasks = [await api.enqueue_task(limited, args=(0.5,)) for _ in range(5)]
        ended = [await api.wait_task(task.id, 30) for task in tasks]
        late = await api.enqueue_task(limited.using(timeout=0.1), args=(0.5,))
        failed = await api.wait_task(late.id, 30)
    assert {task.status for task in ended} == {TaskState.SUCCEEDED}
    assert failed.error is not None
    assert failed.error["type"] == "TimeoutError"
