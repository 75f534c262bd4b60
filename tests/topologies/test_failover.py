"""A master dies while a hundred tasks stream: each that Redis kept ends once, everybody is back.

Writes that had not reached the replica may be gone: a task, a piece of output, an end (the task
then runs again). So nothing here says that all hundred are there, or that their text is whole.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.states import FINAL, TaskState
from tasks_app.errors import StoreUnavailable, TaskNotFound
from tasks_app.store import client, keys
from tasks_app.store import tasks as store
from tasks_app.store.subscriptions import subscriptions
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually
from tests.support.topologies import Cluster, Server, Watched

pytestmark = pytest.mark.usefixtures("engine_there")

TASKS = 100
WORDS = [f"{number} " for number in range(40)]
FAILOVER_SECONDS = 30.0


@pytest.fixture(params=["sentinel", "cluster"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def master(kind: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], Server]]:
    """Answer who serves the engine's keys now; whoever was killed is started again afterwards."""
    if kind == "sentinel":
        watched: Watched = request.getfixturevalue("watched")
        yield lambda: watched.master
        watched.restart_dead()
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    prefix = request.getfixturevalue("redis_prefix")
    yield lambda: cluster.owner(f"{{{prefix}}}:")
    cluster.restart_dead()


async def read(task_id: str, started: asyncio.Event) -> list[str]:
    """Read as a client does: after an error again, from the last event. Answer what ends it saw."""
    last, ends = None, []
    while True:
        try:
            async with aclosing(api.follow(task_id, last)) as events:
                async for event in events:
                    last = event.id
                    if event.type == "token":
                        started.set()
                    if event.type == "end":
                        ends.append(event.data["status"])
        except TaskNotFound:
            return ends
        except StoreUnavailable:
            await asyncio.sleep(0.05)
        else:
            return ends


async def kept(task_ids: list[str]) -> list[Any]:
    found = await client.arun_all([store.get_summary(keys.current(), i) for i in task_ids])
    return [task for task in found if task is not None]


async def answers() -> bool:
    try:
        await api.ping()
    except StoreUnavailable:
        return False
    return True


async def test_a_hundred_streams_survive_a_failover(
    master: Callable[[], Server], settings: Any
) -> None:
    settings.TASK_LEASE_SECONDS = 3.0
    before = await asyncio.to_thread(master)
    async with running(Worker(grace=0.2)), running(Worker(grace=0.2)):
        tasks = [await api.enqueue_task(sample_tasks.talk, args=(WORDS, 0.1)) for _ in range(TASKS)]
        ids = [task.id for task in tasks]
        started = [asyncio.Event() for _ in ids]
        readers = [
            asyncio.create_task(read(task_id, event))
            for task_id, event in zip(ids, started, strict=True)
        ]
        async with asyncio.timeout(FAILOVER_SECONDS):
            for event in started:
                await event.wait()
        before.kill()
        with pytest.raises(StoreUnavailable):
            await api.get_task(ids[0])

        async def taken_over() -> bool:
            return await answers() and await asyncio.to_thread(master) is not before

        await eventually(taken_over, within=FAILOVER_SECONDS)

        async def all_ended() -> bool:
            states = Counter(task.status for task in await kept(ids))
            assert set(states) <= FINAL, states
            return True

        await eventually(all_ended, within=FAILOVER_SECONDS)
        ends = await asyncio.wait_for(asyncio.gather(*readers), FAILOVER_SECONDS)
        there = {task.id: task for task in await kept(ids)}
        # The replica had all but the last moments: most of them are there in any case.
        assert len(there) > TASKS / 2
        for task_id, seen in zip(ids, ends, strict=True):
            assert len(seen) <= 1, task_id
            if task_id in there:
                assert seen == ["succeeded"], task_id
                assert there[task_id].status is TaskState.SUCCEEDED
        assert await client.arun(store.unfinished(keys.current())) == []

        # Workers and listeners are back by themselves: a new task runs, another is stopped.
        task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
        assert (await api.wait_task(task.id, 10)).result == 3
        waiting = await api.enqueue_task(sample_tasks.wait_for_stop)
        async with aclosing(api.follow(waiting.id)) as events:
            async for event in events:
                if event.type == "token":
                    break
        assert subscriptions().connected
        stopped = await api.stop_task(waiting.id, by="alice", wait=10)
        assert stopped.status is TaskState.CANCELED
        assert await asyncio.to_thread(_counted) >= len(there)


def _counted() -> int:
    return api.count_tasks_sync()
