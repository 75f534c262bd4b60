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


@pytest.mark.parametrize("definition", [hard_tasks.hold_a_thread, hard_tasks.ignore_everything])
async def test_a_function_that_does_not_end_cannot_keep_the_process(
    definition: Any, redis_url: str, redis_prefix: str, tmp_path: Path
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
    handed_back = await api.get_task(task.id)
    assert (handed_back.status, handed_back.attempts) == (TaskState.QUEUED, 1)
