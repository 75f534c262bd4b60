"""The heartbeat reaps what dead workers left, and lets others recover after a pause."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from tasks_app import api
from tasks_app.store import client, keys, scripts
from tasks_app.worker import heartbeat as heartbeat_module
from tasks_app.worker.heartbeat import Heartbeat
from tests import sample_tasks


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


def beating() -> Heartbeat:
    return Heartbeat("w", {}, lambda attempt, purpose: None)  # noqa: ARG005


async def expired_lease() -> str:
    prefix = keys.current().prefix
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    claim = scripts.claim(prefix, instance="dead", slots=1, lease=30, queues=["default"])
    await client.arun(claim)
    await client.client().zadd(keys.current().name("running"), {task.id: 1})
    return task.id


async def test_nothing_is_reaped_before_others_had_time_to_renew() -> None:
    task_id = await expired_lease()
    heart = beating()
    for _ in range(3):
        await heart._beat()
    assert (await api.get_task(task_id)).status == "running"
    heart._in_contact_since = time.monotonic() - heartbeat_module.STEADY_SECONDS
    await heart._beat()
    assert (await api.get_task(task_id)).status == "queued"


async def test_after_a_pause_of_its_own_it_waits_again() -> None:
    heart = beating()
    await heart._beat()
    heart._in_contact_since = time.monotonic() - 60
    heart._last_beat = time.monotonic() - 60
    task_id = await expired_lease()
    await heart._beat()
    assert (await api.get_task(task_id)).status == "running"
