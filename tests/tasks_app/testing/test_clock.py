"""Time passes for the engine without waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.utils import timezone

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.store import client, keys, scripts
from tasks_app.testing import aadvance, advance, aexpire_leases, expire_leases
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.support.eventually import eventually

DAY = 86_400.0


def prefix() -> str:
    return keys.current().prefix


async def claim(slots: int = 9) -> list[scripts.Claimed]:
    call = scripts.claim(prefix(), instance="gone", slots=slots, lease=15, queues=["default"])
    return (await client.arun(call)).attempts


async def states(*results: Any) -> list[TaskState]:
    return [(await api.get_task(result.id)).status for result in results]


async def test_what_is_scheduled_comes_due(worker: Worker) -> None:
    later = timezone.now() + timedelta(days=1)
    result = await sample_tasks.add.using(run_after=later).aenqueue(1, 2)
    debounced = await sample_tasks.add.using(debounce=3600).aenqueue(3, 4)
    assert await aadvance(DAY / 2) == 2
    assert (await api.wait_task(debounced.id, 10)).result == 7
    assert await states(result) == [TaskState.SCHEDULED]
    assert await sync_to_async(advance)(DAY / 2) == 2
    assert (await api.wait_task(result.id, 10)).result == 3


async def test_a_retry_comes_due(worker: Worker) -> None:
    result = await sample_tasks.fail_once_then_wait.aenqueue()

    async def waits() -> bool:
        return await states(result) == [TaskState.SCHEDULED]

    await eventually(waits)
    await aadvance(30)
    assert (await api.wait_task(result.id, 10)).attempts == 2


async def test_what_waits_expires(engine: None) -> None:
    result = await sample_tasks.add.using(expires_in=3600).aenqueue(1, 2)
    other = await sample_tasks.add.using(expires_in=2 * DAY).aenqueue(1, 2)
    await aadvance(DAY)
    assert [held.id for held in await claim()] == [other.id]
    assert await states(result) == [TaskState.FAILED]


async def test_what_waits_expires_also_where_nobody_claims_it(engine: None) -> None:
    result = await sample_tasks.add.using(expires_in=3600).aenqueue(1, 2)
    other = await sample_tasks.add.using(expires_in=2 * DAY).aenqueue(1, 2)
    await aadvance(DAY)
    await client.arun(scripts.reap(prefix(), lease=15))
    assert await states(result, other) == [TaskState.FAILED, TaskState.QUEUED]


async def test_what_is_finished_outlives_its_retention(engine: None) -> None:
    result = await sample_tasks.add.aenqueue(1, 2)
    await api.stop_task(result.id, by="test")
    before = await api.get_task(result.id)
    await aadvance(DAY)
    after = await api.get_task(result.id)
    assert before.finished_at is not None
    assert after.finished_at == before.finished_at - timedelta(days=1)
    assert await client.arun(scripts.prune(prefix(), retention=DAY)) == 1


async def test_leases_end_when_they_are_told_to(engine: None) -> None:
    result = await sample_tasks.add.aenqueue(1, 2)
    await claim()
    await aadvance(DAY)  # a live worker would have renewed it all day
    assert await client.arun(scripts.reap(prefix(), lease=15)) == []
    assert await aexpire_leases() == 1
    assert await client.arun(scripts.reap(prefix(), lease=15)) == [(result.id, "queued")]
    assert await sync_to_async(expire_leases)() == 0
