"""A function that blocks its worker's event loop costs others their attempts, never their end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.states import TaskState
from tests import hard_tasks
from tests.conftest import point_at
from tests.support.chaos import assert_ended_once, kept_events
from tests.support.eventually import eventually
from tests.support.stack import Stack


@pytest.fixture
async def stack(engine: None, settings: Any) -> AsyncIterator[Stack]:
    """Give a system whose Redis runs; the test starts the workers it wants."""
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    stack = Stack(folder, webs=0)
    stack.redis.folder.mkdir()
    stack.redis.start()
    point_at(settings, stack.redis.url, "stack")
    try:
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(folder)


def start(stack: Stack, number: int, *queues: str) -> None:
    name = f"worker-{number}"
    words = [word for queue in queues for word in ("--queue", queue)]
    stack.run(name, "manage.py", "taskworker", "--name", name, "--grace", "1", *words)


async def beside_a_blocker(stack: Stack, *, lease: float, blocked: float) -> list[str]:
    """Let tasks run in a worker, bring a second one, block the first. Answer all ids."""
    stack.environment["TASK_LEASE_SECONDS"] = str(lease)
    start(stack, 1, "default", "of-the-first")
    go = str(stack.folder / "go")
    ids = [(await api.enqueue_task(hard_tasks.wait_for_file, args=(go,))).id for _ in range(4)]
    await all_running(ids)
    start(stack, 2, "default")
    await eventually(both_are_there, within=60)
    ask = api.Ask(queue="of-the-first")
    blocker = await api.enqueue_task(hard_tasks.block_the_loop, args=(blocked,), ask=ask)
    await all_running([blocker.id])
    return [*ids, blocker.id]


async def both_are_there() -> bool:
    return await api.workers_alive() == 2


async def all_running(ids: list[str]) -> None:
    async def check() -> bool:
        return all([(await api.get_task(i)).status is TaskState.RUNNING for i in ids])

    await eventually(check, within=60)


async def ended(stack: Stack, ids: list[str]) -> list[api.Task]:
    """Let the tasks end; check that each did once."""
    (stack.folder / "go").touch()
    tasks = [await api.wait_task(task_id, 30) for task_id in ids]
    for task in tasks:
        assert_ended_once(task, await kept_events(task.id))
        assert task.status is TaskState.SUCCEEDED
    return tasks


async def test_leases_longer_than_the_blocking_are_kept(stack: Stack) -> None:
    ids = await beside_a_blocker(stack, lease=12.0, blocked=3.0)
    assert (await api.wait_task(ids[-1], 30)).result == 1
    tasks = await ended(stack, ids)
    assert {task.attempts for task in tasks} == {1}
    assert stack.log_of("worker-1").count("lease_lost") == 0


async def test_leases_shorter_than_the_blocking_are_lost_and_the_attempts_abandoned(
    stack: Stack,
) -> None:
    ids = await beside_a_blocker(stack, lease=2.0, blocked=9.0)
    others = ids[:-1]

    async def all_lost() -> bool:
        # The others still wait for the file: each attempt of the first worker has been abandoned.
        return all(f"lease_lost task_id={i}" in stack.log_of("worker-1") for i in others)

    await eventually(all_lost, within=60)
    tasks = await ended(stack, ids)
    assert all(task.attempts >= 2 for task in tasks)
