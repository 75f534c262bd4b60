"""Of many attempts of one claim half is held back for a moment: nothing happens to it meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys, scripts
from tasks_app.worker import exchange as exchange_module
from tasks_app.worker import worker as worker_module
from tasks_app.worker.attempt import Purpose
from tasks_app.worker.worker import MANY, Worker
from tests import hard_tasks
from tests.conftest import running
from tests.support.eventually import eventually

AT_LAST = 3600.0  # nothing in these tests happens only because so much time has passed
HELD_BACK = MANY // 2


@pytest.fixture(autouse=True)
async def _engine(engine: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(exchange_module, "POLL_SECONDS", AT_LAST)
    return


@pytest.fixture(autouse=True)
def _nothing_started() -> Iterator[None]:
    hard_tasks.STARTED.clear()
    hard_tasks.GO_ON.clear()
    yield
    hard_tasks.GO_ON.set()


async def enqueue(definition: Any = hard_tasks.wait_silently) -> list[str]:
    """Enqueue as many as one claim takes, before there is a worker."""
    return [(await api.enqueue_task(definition)).id for _ in range(MANY)]


@contextlib.asynccontextmanager
async def holding_back(
    monkeypatch: pytest.MonkeyPatch, grace: float = 0.0
) -> AsyncIterator[tuple[Worker, list[str], asyncio.Event]]:
    """Run a worker that has begun one half of what it claimed; the other waits to be let go."""
    monkeypatch.setattr(worker_module, "HOLD_BACK_SECONDS", AT_LAST)
    tasks, stopping = await enqueue(), asyncio.Event()
    worker = Worker(concurrency=MANY, grace=grace)
    work = asyncio.create_task(worker.run(stopping))
    try:
        await eventually(lambda: begun(tasks[:-HELD_BACK]), within=10)
        yield worker, tasks, stopping
    finally:
        stopping.set()
        worker._begin_held_back()
        await work


async def begun(tasks: list[str]) -> bool:
    """Say whether just these have begun, each once."""
    return sorted(hard_tasks.STARTED) == sorted(tasks)


async def states(tasks: list[str]) -> set[TaskState]:
    return {task.status for task in await api.summaries(tasks)}


async def test_long_tasks_all_begin_though_nothing_goes_out() -> None:
    tasks = await enqueue()
    async with running(Worker(concurrency=MANY, grace=0)):
        await eventually(lambda: begun(tasks), within=10)


async def test_the_second_half_begins_with_the_next_round_trip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with holding_back(monkeypatch) as (_, tasks, _):
        await api.stop_task(tasks[0], by="alice")  # its outcome goes out
        await eventually(lambda: begun(tasks), within=10)


async def test_each_begins_once_where_the_answer_of_the_claim_was_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arun_each, lost = client.arun_each, []

    async def lose_the_first(calls: Any) -> Any:
        replies = await arun_each(calls)
        if not lost and any(isinstance(reply, scripts.Claim) for reply in replies):
            lost.extend(replies)
            raise StoreUnavailable("The connection broke.")
        return replies

    monkeypatch.setattr(client, "arun_each", lose_the_first)
    tasks = await enqueue()
    async with running(Worker(concurrency=MANY, grace=0)):
        await eventually(lambda: begun(tasks), within=10)
    assert len(lost[-1].attempts) == MANY
    assert {task.attempts for task in await api.summaries(tasks)} == {1}


async def test_one_that_is_stopped_while_it_is_held_back_never_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with holding_back(monkeypatch) as (worker, tasks, _):
        stopped = tasks[-2:]
        for task_id in stopped:
            await api.stop_task(task_id, by="alice")

        async def has_heard() -> bool:
            told = [a for a in worker._held_back if a.purpose is Purpose.STOP]
            return [a.claimed.id for a in told] == stopped

        await eventually(has_heard, within=10)
        worker._begin_held_back()
        for task_id in stopped:
            ended = await api.wait_task(task_id, 10)
            assert (ended.status, ended.stopped_by) == (TaskState.CANCELED, "alice")
        await eventually(lambda: begun(tasks[:-2]), within=10)
        assert await states(tasks[:-2]) == {TaskState.RUNNING}


async def test_one_whose_lease_is_lost_while_it_is_held_back_never_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = keys.current()
    async with holding_back(monkeypatch) as (worker, tasks, _):
        lost = tasks[-1]
        await client.client().zadd(names.name("running"), {lost: 1}, xx=True)
        await client.arun(scripts.reap(names.prefix, lease=30))
        other = await client.arun(
            scripts.claim(names.prefix, instance="w", slots=1, lease=30, queues=["default"])
        )
        assert [one.id for one in other.attempts] == [lost]

        async def has_heard() -> bool:
            return any(a.purpose is Purpose.LOST for a in worker._held_back)

        await eventually(has_heard, within=10)
        worker._begin_held_back()
        await eventually(lambda: begun(tasks[:-1]), within=10)
    theirs = await api.get_task(lost)
    assert (theirs.status, theirs.instance) == (TaskState.RUNNING, "w")


async def test_what_is_held_back_at_a_shutdown_goes_back_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with holding_back(monkeypatch, grace=30) as (worker, tasks, stopping):
        stopping.set()
        await eventually(lambda: is_leaving(worker))
        worker._begin_held_back()

        async def are_back() -> bool:
            return await states(tasks[-HELD_BACK:]) == {TaskState.QUEUED}

        await eventually(are_back, within=10)
        assert await states(tasks[:-HELD_BACK]) == {TaskState.RUNNING}
        assert await begun(tasks[:-HELD_BACK])
        for task_id in tasks[:-HELD_BACK]:
            await api.stop_task(task_id, by="alice")


async def is_leaving(worker: Worker) -> bool:
    return worker._draining


async def test_what_a_claim_brings_after_the_shutdown_goes_back_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arun_each, claimed, let_go = client.arun_each, asyncio.Event(), asyncio.Event()

    async def answered_late(calls: Any) -> Any:
        replies = await arun_each(calls)
        if any(isinstance(reply, scripts.Claim) and reply.attempts for reply in replies):
            claimed.set()
            await let_go.wait()
        return replies

    monkeypatch.setattr(client, "arun_each", answered_late)
    tasks = await enqueue()
    async with running(Worker(grace=0)) as worker:
        await claimed.wait()
        leaving = asyncio.create_task(eventually(lambda: is_leaving(worker)))
        leaving.add_done_callback(lambda _: let_go.set())
    await leaving
    assert await states(tasks) == {TaskState.QUEUED}
    assert await begun([])
