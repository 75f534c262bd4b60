"""One worker holds many attempts at once, and every one of them is renewed, stopped and settled."""

from __future__ import annotations

import asyncio

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.support.eventually import eventually


async def test_tasks_that_were_claimed_together_all_end(worker: Worker) -> None:
    tasks = [await api.enqueue_task(sample_tasks.add, args=(n, n)) for n in range(20)]
    ended = await asyncio.gather(*(api.wait_task(task.id, 10) for task in tasks))
    assert [task.result for task in ended] == [2 * n for n in range(20)]


async def test_one_of_many_running_tasks_is_stopped_alone(worker: Worker) -> None:
    tasks = [await api.enqueue_task(sample_tasks.wait_for_stop) for _ in range(5)]

    async def all_run() -> bool:
        found = await api.summaries([task.id for task in tasks])
        return all(task.status is TaskState.RUNNING for task in found)

    await eventually(all_run)
    stopped = await api.stop_task(tasks[0].id, by="system", wait=5)
    assert stopped.status is TaskState.CANCELED
    assert await api.unfinished_ids() == sorted(task.id for task in tasks[1:])
    for task in tasks[1:]:
        assert (await api.stop_task(task.id, by="system", wait=5)).status is TaskState.CANCELED
