"""A worker runs attempts: what functions return, raise and ignore, and what becomes of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tasks_app import Retry, api
from tasks_app.domain.states import TaskState
from tasks_app.store import client, keys
from tasks_app.worker import worker as worker_module
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually


async def run(definition: Any, *args: Any, **options: Any) -> api.Task:
    task = await api.enqueue_task(definition, args=args, **options)
    return await api.wait_task(task.id, 10)


async def events_of(task_id: str, last: str | None = None) -> list[api.Event]:
    async with aclosing(api.follow(task_id, last)) as events:
        return [event async for event in events]


async def test_a_coroutine_succeeds_with_its_result(worker: Worker) -> None:
    task = await run(sample_tasks.add, 2, 3)
    assert (task.status, task.result, task.attempts) == (TaskState.SUCCEEDED, 5, 1)
    assert task.instance == worker.instance


async def test_a_function_runs_in_the_pool(worker: Worker) -> None:
    assert (await run(sample_tasks.add_in_thread, 2, 3)).result == 5


async def test_tokens_arrive_in_order_and_the_end_comes_last(worker: Worker) -> None:
    task = await api.enqueue_task(sample_tasks.talk, args=(["a", "b", "ü", "\ud800"], 0.01))
    events = await events_of(task.id)
    assert "".join(e.data["text"] for e in events if e.type == "token") == "abü?"
    assert events[-1].type == "end"
    assert events[-1].data["status"] == "succeeded"
    assert [e.type for e in events].count("end") == 1
    assert len({e.id for e in events}) == len(events)


async def test_a_failure_says_why(worker: Worker) -> None:
    task = await run(sample_tasks.fail)
    assert task.status is TaskState.FAILED
    assert task.error == {"type": "ValueError", "message": "the reason"}


async def test_a_function_that_exits_ends_only_itself(worker: Worker) -> None:
    task = await run(sample_tasks.leave)
    assert task.error == {"type": "SystemExit", "message": "gone"}
    assert (await run(sample_tasks.add, 1, 1)).result == 2


async def test_retries_until_it_works(worker: Worker, tmp_path: Path) -> None:
    task = await run(sample_tasks.fail_until_third, str(tmp_path / "tries"))
    assert (task.status, task.result, task.attempts) == (TaskState.SUCCEEDED, 3, 3)
    kinds = [event.type for event in await events_of(task.id)]
    assert kinds.count("restart") == 2


async def test_a_time_out_fails_with_its_limit(worker: Worker) -> None:
    task = await run(sample_tasks.too_slow)
    assert task.status is TaskState.FAILED
    assert task.error is not None
    assert "0.05" in task.error["message"]


async def test_a_result_that_is_not_json_fails(worker: Worker) -> None:
    task = await run(sample_tasks.not_json)
    assert task.error is not None
    assert task.error["type"] == "InvalidResult"


async def started(definition: Any, **options: Any) -> api.Task:
    task = await api.enqueue_task(definition, **options)
    async with aclosing(api.follow(task.id)) as events:
        async for event in events:
            if event.type in {"token", "progress"}:
                return task
    raise AssertionError("the task ended before it said anything")


async def test_stop_cancels_the_coroutine_and_then_says_so(worker: Worker) -> None:
    task = await started(sample_tasks.wait_for_stop)
    stopped = await api.stop_task(task.id, by="alice", wait=5)
    assert stopped.status is TaskState.CANCELED
    assert (stopped.stopped_by, stopped.reason) == ("alice", "user")
    assert task.id in sample_tasks.FINALLY
    assert await api.unfinished_ids() == []


async def test_a_swallowed_stop_ends_canceled_all_the_same(worker: Worker) -> None:
    task = await started(sample_tasks.swallow_stop)
    stopped = await api.stop_task(task.id, by="alice", wait=5)
    assert (stopped.status, stopped.result) == (TaskState.CANCELED, None)


async def test_a_thread_stops_where_it_looks(worker: Worker) -> None:
    task = await started(sample_tasks.look_for_stop)
    assert (await api.get_task(task.id)).progress == 0.5
    stopped = await api.stop_task(task.id, by="alice", wait=5)
    assert stopped.status is TaskState.CANCELED


async def test_an_unknown_task_fails_and_the_worker_goes_on(engine: None) -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    await client.client().hset(keys.current().task(task.id), "path", "tests.sample_tasks.gone")
    async with running(Worker(grace=0.2)):
        ended = await api.wait_task(task.id, 5)
        assert ended.status is TaskState.FAILED
        assert ended.error is not None
        assert "tests.sample_tasks.gone" in ended.error["message"]
        assert (await run(sample_tasks.add, 1, 1)).result == 2


async def test_shutdown_hands_back_what_does_not_finish(engine: None) -> None:
    async with running(Worker(name="first", grace=0.05)):
        task = await started(sample_tasks.wait_for_stop)
    handed_back = await api.get_task(task.id)
    assert handed_back.status is TaskState.QUEUED
    assert await api.workers_alive() == 0
    async with running(Worker(name="second", grace=0.05)) as second:
        await eventually(lambda: _runs_on(task.id, second.instance))
        assert (await api.stop_task(task.id, by="x", wait=5)).status is TaskState.CANCELED


async def _runs_on(task_id: str, instance: str) -> bool:
    return (await api.get_task(task_id)).instance == instance


async def test_a_dead_workers_task_starts_again_elsewhere(engine: None, settings: Any) -> None:
    settings.TASK_LEASE_SECONDS = 1.0
    dead = Worker(name="dead")
    task_of_dead = asyncio.create_task(dead.run(asyncio.Event()))
    task = await started(sample_tasks.wait_for_stop)
    # As kill -9 would leave it: nothing is written any more, the lease runs out.
    for attempt in dead._attempts.values():
        attempt.settled = attempt.output.closed = True
    dead._heartbeat._attempts = {}
    task_of_dead.cancel()
    await asyncio.gather(task_of_dead, return_exceptions=True)
    async with running(Worker(name="alive", grace=0.05)) as alive:
        await eventually(lambda: _runs_on(task.id, alive.instance), within=20)
        stopped = await api.stop_task(task.id, by="x", wait=5)
    assert (stopped.status, stopped.attempts) == (TaskState.CANCELED, 2)
    kinds = [event.type for event in await events_of(task.id)]
    assert kinds.count("restart") == 1
    assert kinds.count("end") == 1


async def test_an_ignored_cancellation_is_settled_after_its_time(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "IGNORED_CANCEL_SECONDS", 0.05)
    task = await started(sample_tasks.ignore_stop)
    try:
        stopped = await api.stop_task(task.id, by="alice", wait=5)
        assert stopped.status is TaskState.CANCELED
    finally:
        sample_tasks.RELEASED.set()


async def test_following_survives_a_flood(worker: Worker) -> None:
    task = await api.enqueue_task(sample_tasks.chatter, args=(5000,))
    events = await events_of(task.id)
    text = "".join(event.data["text"] for event in events if event.type == "token")
    assert text == "".join(f"{number} " for number in range(5000))


async def test_a_policy_given_with_using_is_the_one_that_counts(worker: Worker) -> None:
    twice = sample_tasks.never_reached.using(retry=Retry(max_attempts=2, base=0.01, jitter=False))
    assert (await run(twice)).attempts == 2
    assert (await run(sample_tasks.never_reached)).attempts == 1
    assert (await run(twice.using(retry=None))).attempts == 1


async def test_many_large_results_are_settled_in_parts(worker: Worker) -> None:
    tasks = [await api.enqueue_task(sample_tasks.big, args=(3_000_000,)) for _ in range(20)]
    beside = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    ended = [await api.wait_task(task.id, 30) for task in (*tasks, beside)]
    assert {task.status for task in ended} == {TaskState.SUCCEEDED}


async def test_an_attempt_whose_execution_breaks_fails(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise AttributeError("broken")

    monkeypatch.setattr(worker_module, "execute", broken)
    task = await run(sample_tasks.add, 1, 2)
    assert task.status is TaskState.FAILED
