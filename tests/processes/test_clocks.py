"""Machines' clocks may disagree by minutes: the engine reads Redis' only."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks_app import api
from tasks_app.definition import TaskDefinition
from tasks_app.domain.records import from_ms
from tasks_app.domain.states import TaskState
from tasks_app.store import client
from tasks_app.store import tasks as store
from tests import chaos_tasks, hard_tasks
from tests.conftest import point_at
from tests.support.eventually import eventually
from tests.support.stack import Stack

MINUTES = {1: 10, 2: -10}
# Python imports it by itself when it is on the path: before Django, before anything of ours.
SITECUSTOMIZE = """
import datetime, os, time

OFFSET = float(os.environ["TEST_CLOCK_OFFSET"])
real_time, real_time_ns, Real = time.time, time.time_ns, datetime.datetime
time.time = lambda: real_time() + OFFSET
time.time_ns = lambda: real_time_ns() + int(OFFSET * 1e9)


class Shifted(Real):
    @classmethod
    def now(cls, tz=None):
        return Real.now(tz) + datetime.timedelta(seconds=OFFSET)

    @classmethod
    def utcnow(cls):
        return Real.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=OFFSET)


datetime.datetime = Shifted
"""


@pytest.fixture
async def stack(engine: None, settings: Any) -> AsyncIterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    stack = Stack(folder, webs=0)
    (folder / "path").mkdir()
    (folder / "path" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    stack.environment |= {"PYTHONPATH": str(folder / "path"), "TASK_LEASE_SECONDS": "6"}
    stack.redis.folder.mkdir()
    stack.redis.start()
    point_at(settings, stack.redis.url, "stack")
    try:
        for number in MINUTES:
            start(stack, number)
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(folder)


def start(stack: Stack, number: int) -> None:
    stack.environment["TEST_CLOCK_OFFSET"] = str(MINUTES[number] * 60)
    stack.start_worker(number)


def clock_of(stack: Stack, number: int) -> datetime:
    """Return what a worker took the time to be when it started, from its log."""
    found = re.search(
        r"^(\S+ \S+) INFO \S+ worker_started", stack.log_of(f"worker-{number}"), re.MULTILINE
    )
    assert found is not None
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC)


async def both_are_there() -> bool:
    return await api.workers_alive() == len(MINUTES)


async def enqueue(definition: TaskDefinition[..., Any], *args: Any) -> str:
    return (await api.enqueue_task(definition, args=args)).id


async def test_leases_delays_expiry_and_recovery_depend_on_no_workers_clock(stack: Stack) -> None:
    await eventually(both_are_there, within=60)
    assert clock_of(stack, 1) - clock_of(stack, 2) > timedelta(minutes=19)
    due = datetime.now(UTC) + timedelta(seconds=2)
    go = stack.folder / "go"
    expiring = {"expires_in": 60.0}  # far less than the clocks disagree
    waiting = hard_tasks.wait_for_file.using(**expiring)
    ids = {
        "long": [await enqueue(waiting, str(go)) for _ in "123456"],
        "delayed": [await enqueue(chaos_tasks.sleep.using(run_after=due, **expiring), 0)],
        "debounced": [await enqueue(chaos_tasks.sleep.using(debounce=0.5, max_wait=2), 0)],
        "retried": [await enqueue(chaos_tasks.fail_often.using(**expiring)) for _ in "12"],
    }  # fmt: skip
    for task_id in (*ids["delayed"], *ids["debounced"], *ids["retried"]):
        assert (await api.wait_task(task_id, 30)).status is TaskState.SUCCEEDED
    [delayed] = [await api.get_task(task_id) for task_id in ids["delayed"]]
    assert delayed.started_at is not None
    assert delayed.started_at >= due - timedelta(milliseconds=1)
    # Leases of 6 s on both sides of a gap of 20 minutes: nobody takes them for expired.
    held_until = await redis_time() + timedelta(seconds=7)
    await eventually(lambda: is_later_than(held_until), within=30)
    for task_id in ids["long"]:
        task = await api.get_task(task_id)
        assert (task.status, task.attempts) == (TaskState.RUNNING, 1)
    stack.kill("worker-1")
    go.touch()
    tasks = [await api.wait_task(task_id, 30) for task_id in ids["long"]]
    assert {task.status for task in tasks} == {TaskState.SUCCEEDED}
    for task in tasks:
        assert task.created_at is not None
        assert task.finished_at is not None
        assert timedelta(0) < task.finished_at - task.created_at < timedelta(minutes=5)


async def redis_time() -> datetime:
    moment = from_ms(await client.arun(store.server_time()))
    assert moment is not None
    return moment


async def is_later_than(moment: datetime) -> bool:
    return await redis_time() > moment
