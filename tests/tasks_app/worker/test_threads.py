"""Functions in threads: claimed when a thread is free, settled when they return, never doubled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from tasks_app import api
from tasks_app.conf import thread_pool_size
from tasks_app.domain.states import TaskState
from tasks_app.store import client, keys, scripts
from tasks_app.worker import exchange as exchange_module
from tasks_app.worker import worker as worker_module
from tasks_app.worker.attempt import Purpose
from tasks_app.worker.worker import Worker
from tests import hard_tasks, sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
async def _engine(engine: None, settings: Any) -> AsyncIterator[None]:
    settings.THREAD_POOL_SIZE = 2
    return


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    hard_tasks.GO_ON.clear()
    hard_tasks.STARTED.clear()
    yield
    hard_tasks.GO_ON.set()


async def started(definition: Any) -> api.Task:
    """Enqueue it and wait until its function has said something."""
    task = await api.enqueue_task(definition)
    async with aclosing(api.follow(task.id)) as events:
        async for event in events:
            if event.type in {"token", "progress"}:
                break
    return await api.get_task(task.id)


async def hold_all_threads() -> list[api.Task]:
    return [await started(hard_tasks.hold_a_thread) for _ in range(thread_pool_size())]


async def status(task: api.Task) -> TaskState:
    return (await api.get_task(task.id)).status


# --- claiming ------------------------------------------------------------------------------------


async def test_what_finds_no_free_thread_is_left_to_other_workers() -> None:
    async with running(Worker(name="full", grace=0.1)) as full:
        held = await hold_all_threads()
        assert {task.instance for task in held} == {full.instance}
        waiting = [await api.enqueue_task(hard_tasks.hold_a_thread) for _ in range(2)]
        for _ in range(3):  # it claims, and is not held up by them
            task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
            assert (await api.wait_task(task.id, 10)).result == 3
        assert {await status(task) for task in waiting} == {TaskState.QUEUED}
        async with running(Worker(name="other", grace=0.1)) as other:

            async def all_run() -> bool:
                found = await api.summaries([task.id for task in waiting])
                return {task.instance for task in found} == {other.instance}

            await eventually(all_run, within=10)
            hard_tasks.GO_ON.set()
            for task in (*held, *waiting):
                assert (await api.wait_task(task.id, 10)).status is TaskState.SUCCEEDED


async def test_a_thread_that_gets_free_is_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "POLL_SECONDS", 3600.0)
    async with running(Worker(name="test", grace=0.1)):
        tasks = [await api.enqueue_task(sample_tasks.add_in_thread, args=(n, n)) for n in range(30)]
        ended = [await api.wait_task(task.id, 10) for task in tasks]
    assert [task.result for task in ended] == [2 * n for n in range(30)]
    assert {task.attempts for task in ended} == {1}


async def test_a_stopped_function_keeps_its_thread_until_it_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "IGNORED_CANCEL_SECONDS", 0.05)
    async with running(Worker(name="test", grace=0.1)):
        for task in await hold_all_threads():
            stopped = await api.stop_task(task.id, by="alice", wait=5)
            assert stopped.status is TaskState.CANCELED
        waiting = await api.enqueue_task(sample_tasks.add_in_thread, args=(1, 2))
        other = await api.enqueue_task(sample_tasks.add, args=(1, 2))
        await api.wait_task(other.id, 10)
        assert await status(waiting) is TaskState.QUEUED
        hard_tasks.GO_ON.set()
        assert (await api.wait_task(waiting.id, 10)).result == 3


# --- shutdown ------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def handing_back(worker: Worker, definition: Any) -> AsyncIterator[api.Task]:
    """Shut a worker down, and run the block once its task is being handed back."""
    stopping = asyncio.Event()
    work = asyncio.create_task(worker.run(stopping))
    task = await started(definition)
    stopping.set()

    async def is_told() -> bool:
        return all(one.purpose is Purpose.RELEASE for one in worker._attempts.values())

    await eventually(is_told)
    yield task
    await work


async def test_a_function_that_returns_during_the_hand_back_is_not_run_again() -> None:
    once = hard_tasks.hold_a_thread.using(max_deliveries=1)
    async with handing_back(Worker(grace=0.05), once) as task:
        hard_tasks.GO_ON.set()
    ended = await api.get_task(task.id)
    assert (ended.status, ended.attempts) == (TaskState.SUCCEEDED, 1)


async def test_a_function_that_raises_during_the_hand_back_has_failed() -> None:
    async with handing_back(Worker(grace=0.05), hard_tasks.hold_a_thread_and_fail) as task:
        hard_tasks.GO_ON.set()
    ended = await api.get_task(task.id)
    assert ended.status is TaskState.FAILED
    assert ended.error == {"type": "ValueError", "message": "in the end"}


async def test_a_function_that_has_seen_the_shutdown_is_handed_back() -> None:
    async with handing_back(Worker(grace=0.05), sample_tasks.look_for_stop) as task:
        pass
    assert await status(task) is TaskState.QUEUED


async def test_a_function_that_never_returns_is_not_begun_again_beside_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "HAND_BACK_SECONDS", 0.05)
    monkeypatch.setattr(worker_module, "GIVE_UP_SECONDS", 0.05)
    worker = Worker(grace=0.05)
    async with handing_back(worker, hard_tasks.hold_a_thread.using(max_deliveries=2)) as task:
        pass
    assert worker.is_leaving_work_behind
    assert await status(task) is TaskState.RUNNING  # nobody can claim it
    names = keys.current()
    for expected in (TaskState.QUEUED, TaskState.FAILED):  # like any whose worker died
        await client.client().zadd(names.name("running"), {task.id: 1}, xx=True)
        await client.arun(scripts.reap(names.prefix, lease=30))
        assert await status(task) is expected
        await client.arun(
            scripts.claim(names.prefix, instance="w", slots=1, lease=30, queues=["default"])
        )
    assert [task.id] == hard_tasks.STARTED
