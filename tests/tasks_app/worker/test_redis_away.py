"""Redis dies and comes back: nothing acknowledged is lost and stops still arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys, scripts
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import RedisServer, point_at, running
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
async def _engine(engine: None, settings: Any, own_redis: RedisServer) -> AsyncIterator[None]:
    point_at(settings, own_redis.url, "away")
    return


async def said_something(task_id: str) -> None:
    async with aclosing(api.follow(task_id)) as events:
        async for event in events:
            if event.type == "token":
                return


async def test_a_task_that_streams_through_a_restart_is_complete(own_redis: RedisServer) -> None:
    words = [f"{number} " for number in range(100)]
    async with running(Worker(grace=0.2)):
        task = await api.enqueue_task(sample_tasks.talk, args=(words, 0.02))
        reading = asyncio.create_task(_text(task.id))
        await said_something(task.id)
        own_redis.kill()
        with pytest.raises(StoreUnavailable):
            await api.get_task(task.id)
        own_redis.start()
        assert await asyncio.wait_for(reading, 30) == "".join(words)
        ended = await api.wait_task(task.id, 10)
    assert (ended.status, ended.attempts) == (TaskState.SUCCEEDED, 1)


async def _text(task_id: str) -> str:
    """Read as a client does: after an error, again from the last event."""
    text, last = "", None
    while True:
        try:
            async with aclosing(api.follow(task_id, last)) as events:
                async for event in events:
                    last = event.id
                    if event.type == "token":
                        text += event.data["text"]
                    if event.type == "end":
                        return text
        except StoreUnavailable:
            await asyncio.sleep(0.05)


async def test_a_stop_whose_message_was_lost_is_found_again(own_redis: RedisServer) -> None:
    async with running(Worker(grace=0.2)):
        task = await api.enqueue_task(sample_tasks.wait_for_stop)
        await said_something(task.id)
        # The request is recorded by somebody whose message nobody hears.
        await client.client().client_kill_filter(_type="pubsub")
        call = scripts.stop(keys.current().prefix, task_id=task.id, by="alice", reason="user")
        await client.arun(call)
        ended = await api.wait_task(task.id, 10)
    assert ended.status is TaskState.CANCELED


async def test_the_listener_reconnects_and_obeys_again(own_redis: RedisServer) -> None:
    async with running(Worker(grace=0.2)):
        task = await api.enqueue_task(sample_tasks.wait_for_stop)
        await said_something(task.id)
        own_redis.kill()
        own_redis.start()
        await eventually(_answers, within=10)
        stopped = await api.stop_task(task.id, by="alice", wait=10)
    assert stopped.status is TaskState.CANCELED
    assert task.id in sample_tasks.FINALLY


async def _answers() -> bool:
    try:
        await api.ping()
    except StoreUnavailable:
        return False
    return True


async def test_a_worker_that_starts_without_redis_begins_when_it_comes(
    own_redis: RedisServer,
) -> None:
    own_redis.kill()
    async with running(Worker(grace=0.2)):
        with pytest.raises(StoreUnavailable):
            await api.enqueue_task(sample_tasks.add, args=(1, 2))
        own_redis.start()
        await eventually(_answers, within=10)
        task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
        assert (await api.wait_task(task.id, 10)).result == 3
