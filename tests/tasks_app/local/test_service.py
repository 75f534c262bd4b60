"""The service behind coroutines: Redis away, leases lost, shutdown."""

from __future__ import annotations

import asyncio
import inspect
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasks_app import api, create_task, list_tasks, stop_task
from tasks_app.domain.states import TaskState
from tasks_app.errors import ShuttingDown, StoreUnavailable, TasksError
from tasks_app.local import service
from tasks_app.store import client, keys, scripts
from tasks_app.store.scripts import Call
from tasks_app.worker import heartbeat
from tests import sample_tasks
from tests.conftest import RedisServer, point_at
from tests.support.eventually import eventually

LEASE = 30.0


@pytest.fixture(autouse=True)
async def _engine(own_redis: RedisServer, settings: Any, engine: None) -> AsyncIterator[None]:
    point_at(settings, own_redis.url, "local")
    return


async def answers() -> bool:
    try:
        await api.ping()
    except StoreUnavailable:
        return False
    return True


async def back(redis: RedisServer) -> None:
    redis.start()
    await eventually(answers, within=10)


async def ended(task_id: str) -> Any:
    task = await api.wait_task(task_id, 10)
    assert task.is_finished
    return task


async def waiting(until: asyncio.Event | None = None) -> str:
    await (until or asyncio.Event()).wait()
    return "done"


# --- Redis is away -------------------------------------------------------------------------------


async def test_without_redis_nothing_starts(own_redis: RedisServer) -> None:
    own_redis.kill()
    for _ in range(3):
        coroutine = waiting()
        with pytest.raises(StoreUnavailable):
            await create_task(coroutine)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    await back(own_redis)
    task_id, _ = await create_task(waiting())

    async def alone() -> bool:
        return await list_tasks() == [task_id]

    await eventually(alone)


async def test_what_a_hanging_redis_may_have_taken_is_ended(own_redis: RedisServer) -> None:
    await create_task(waiting(), task_id="before")
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    coroutine = waiting()
    try:
        with pytest.raises(StoreUnavailable):
            await create_task(coroutine, task_id="hung")
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

    async def alone() -> bool:
        return await answers() and await list_tasks() == ["before"]

    await eventually(alone, within=10)
    assert service.local_tasks()._arriving == {}


async def test_an_end_during_an_outage_is_written_after_it(own_redis: RedisServer) -> None:
    until = asyncio.Event()
    task_id, task = await create_task(waiting(until), item_id="chat-1")
    own_redis.kill()
    until.set()
    assert await task == "done"
    await back(own_redis)
    shown = await ended(task_id)
    assert (shown.status, shown.result) == (TaskState.SUCCEEDED, "done")
    assert await list_tasks() == []
    await eventually(_forgotten)


async def _forgotten() -> bool:
    return service.local_tasks()._started == {}


async def test_after_an_outage_the_lease_goes_on_and_stops_arrive(own_redis: RedisServer) -> None:
    task_id, task = await create_task(waiting())
    own_redis.kill()
    await back(own_redis)
    names = keys.current()
    await client.client().zadd(names.name("running"), {task_id: 1})  # as if it had been long

    async def renewed() -> bool:
        return (await client.client().zscore(names.name("running"), task_id)) > 1

    await eventually(renewed, within=10)
    assert (await stop_task(task_id, wait=True))["status"]
    assert task.cancelled()
    assert (await api.get_task(task_id)).status is TaskState.CANCELED


async def test_a_stop_whose_message_was_lost_is_found_again() -> None:
    task_id, _ = await create_task(waiting())
    await client.client().client_kill_filter(_type="pubsub")
    call = scripts.stop(keys.current().prefix, task_id=task_id, by="alice", reason="user")
    await client.arun(call)
    assert (await ended(task_id)).status is TaskState.CANCELED


async def test_the_service_starts_without_redis(own_redis: RedisServer) -> None:
    own_redis.kill()
    await api.startup()
    with pytest.raises(StoreUnavailable):
        await create_task(waiting())
    await back(own_redis)
    task_id, _ = await create_task(waiting())
    assert (await stop_task(task_id, wait=True))["status"]


async def test_an_idle_service_asks_nothing_of_redis() -> None:
    task_id, task = await create_task(waiting())
    task.cancel()
    await ended(task_id)
    await eventually(_forgotten)
    heart = service.local_tasks()._heartbeat
    before = await client.client().info("commandstats")
    for _ in range(3):
        await heart._beat()
    after = await client.client().info("commandstats")
    assert after["cmdstat_evalsha"]["calls"] == before["cmdstat_evalsha"]["calls"]


async def test_a_failing_loop_of_the_service_is_started_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = service.local_tasks()
    monkeypatch.setattr(service, "LISTEN_AGAIN_SECONDS", 0.01)
    runs = 0

    async def breaks_once() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError("a bug")

    await held._stay_alive("test", breaks_once)
    assert runs == 2
    assert "coroutines_test_failed" in caplog.text


async def test_a_service_whose_loops_were_cancelled_starts_them_again() -> None:
    await create_task(waiting())
    for task in service.local_tasks()._owned.values():
        task.cancel()
    await asyncio.wait(service.local_tasks()._owned.values())
    task_id, _ = await create_task(waiting())
    assert (await stop_task(task_id, wait=True))["status"]


# --- leases --------------------------------------------------------------------------------------


async def test_a_coroutine_whose_lease_was_lost_is_cancelled_and_writes_nothing() -> None:
    prefix = keys.current().prefix
    await client.arun(scripts.expire_leases(prefix))  # loads that script, of tests only
    task_id, task = await create_task(waiting())
    # Together, or a heartbeat in between would renew it.
    calls: list[Call[Any]] = [scripts.expire_leases(prefix), scripts.reap(prefix, lease=LEASE)]
    assert await client.arun_all(calls) == [1, [(task_id, "lost")]]
    with pytest.raises(asyncio.CancelledError):
        await task
    shown = await api.get_task(task_id)
    assert shown.error is not None
    assert (shown.status, shown.error["type"]) == (TaskState.LOST, "InstanceDied")
    await eventually(_forgotten)


async def test_a_redis_that_forgot_everything_leaves_no_zombie() -> None:
    _, task = await create_task(waiting())
    await client.client().flushall()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(_forgotten)
    assert await list_tasks() == []


async def test_it_reaps_the_dead_while_it_has_coroutines() -> None:
    dead = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    claim = scripts.claim(
        keys.current().prefix, instance="dead", slots=1, lease=LEASE, queues=["default"]
    )
    await client.arun(claim)
    await client.client().zadd(keys.current().name("running"), {dead.id: 1})
    await create_task(waiting())
    heart = service.local_tasks()._heartbeat
    await heart._beat()
    heart._in_contact_since = time.monotonic() - heartbeat.STEADY_SECONDS

    async def queued_again() -> bool:
        return (await api.get_task(dead.id)).status is TaskState.QUEUED

    await eventually(queued_again)


# --- shutdown ------------------------------------------------------------------------------------


async def test_shutdown_cancels_and_settles_with_its_reason() -> None:
    ids, said = [], []

    async def tidy(number: int) -> None:
        try:
            await waiting()
        finally:
            # Redis still answers, and this process still hears commands.
            said.append((await api.get_task(ids[number])).status)
            with pytest.raises(ShuttingDown):
                await create_task(waiting())

    for number in range(3):
        task_id, _ = await create_task(tidy(number))
        ids.append(task_id)
    stopped, _ = await create_task(waiting())
    await asyncio.sleep(0)
    await api.stop_task(stopped, by="alice")
    held = service.local_tasks()
    await api.shutdown()
    assert said == [TaskState.RUNNING] * 3
    assert held._owned == {}
    for task_id in ids:
        shown = await api.get_task(task_id)
        assert (shown.status, shown.stopped_by, shown.reason) == ("canceled", "system", "shutdown")
    shown = await api.get_task(stopped)
    assert (shown.status, shown.stopped_by) == (TaskState.CANCELED, "alice")
    assert await list_tasks() == []
    # What is used again opens again.
    task_id, _ = await create_task(waiting())
    assert service.local_tasks() is not held
    assert (await stop_task(task_id, wait=True))["status"]


async def test_shutdown_gives_up_what_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HAND_BACK_SECONDS", 0.05)
    released = asyncio.Event()

    async def ignoring() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    task_id, task = await create_task(ignoring())
    await asyncio.sleep(0)
    await api.shutdown()
    shown = await api.get_task(task_id)
    assert (shown.status, shown.reason) == (TaskState.CANCELED, "shutdown")
    released.set()
    await task


async def test_shutdown_without_redis_ends_all_the_same(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "HAND_BACK_SECONDS", 0.05)
    monkeypatch.setattr(service, "GIVE_UP_SECONDS", 0.05)
    _, task = await create_task(waiting())
    own_redis.kill()
    await api.shutdown()
    assert task.cancelled()
    assert service.held_local_tasks() is None
    own_redis.start()


async def test_a_shutdown_amid_registrations_leaves_nothing_running() -> None:
    creating = [asyncio.create_task(create_task(waiting())) for _ in range(20)]
    await asyncio.sleep(0)
    await api.shutdown()
    made = await asyncio.gather(*creating, return_exceptions=True)
    assert all(isinstance(one, tuple | TasksError) for one in made)
    assert await list_tasks() == []
