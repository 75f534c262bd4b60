"""A real worker process ends in time on SIGTERM, whatever its functions do, and hands them back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.store import client, keys, scripts
from tests import hard_tasks

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


@contextlib.contextmanager
def worker_process(redis_url: str, prefix: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ, "DEBUG": "1", "REDIS_URL": redis_url, "REDIS_KEY_PREFIX": prefix,
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
    }  # fmt: skip
    command = [sys.executable, "manage.py", "taskworker", "--grace", "0.1"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize(
    ("definition", "left"),
    [
        (hard_tasks.hold_a_thread, TaskState.RUNNING),  # until its lease is over: it may still run
        (hard_tasks.ignore_everything, TaskState.QUEUED),
    ],
)
async def test_a_function_that_does_not_end_cannot_keep_the_process(
    definition: Any, left: TaskState, redis_url: str, redis_prefix: str, tmp_path: Path
) -> None:
    with worker_process(redis_url, redis_prefix, tmp_path) as process:
        task = await api.enqueue_task(definition)
        async with aclosing(api.follow(task.id)) as events:
            async for event in events:
                if event.type == "token":
                    break
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    found = await api.get_task(task.id)
    assert (found.status, found.attempts) == (left, 1)
    names = keys.current()
    await client.client().zadd(names.name("running"), {task.id: 1}, xx=True)
    await client.arun(scripts.reap(names.prefix, lease=30))
    assert (await api.get_task(task.id)).status is TaskState.QUEUED
