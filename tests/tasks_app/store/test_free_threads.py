"""What needs a thread is leased to workers that have one free; else it waits, in its order."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.store import client, keys, scripts
from tests import sample_tasks
from tests.tasks_app.store.test_task_keys import (
    LEASE,
    assert_no_keys_are_left,
    enqueue,
    settle,
    status,
)

IN_THREAD = sample_tasks.add_in_thread


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


async def claim(threads: int, slots: int = 10) -> list[str]:
    return [attempt.id for attempt in await claimed(threads, slots)]


async def claimed(threads: int, slots: int = 10) -> list[scripts.Claimed]:
    call = scripts.claim(
        keys.current().prefix, instance="w", slots=slots, lease=LEASE, queues=["default"],
        threads=threads,
    )  # fmt: skip
    return (await client.arun(call)).attempts


async def test_no_more_are_leased_than_threads_are_free() -> None:
    ids = [(await enqueue(IN_THREAD, n, n)).id for n in range(4)]
    other = await enqueue(sample_tasks.add, 1, 1)
    assert await claim(0) == [other.id]
    assert await claim(1) == ids[:1]
    assert await claim(0) == []
    assert await claim(9) == ids[1:]


async def test_an_attempt_says_that_it_takes_a_thread() -> None:
    first, second = await enqueue(IN_THREAD, 1, 1), await enqueue(sample_tasks.add, 1, 1)
    found = {attempt.id: attempt.in_thread for attempt in await claimed(1)}
    assert found == {first.id: True, second.id: False}


async def test_priority_and_age_count_among_those_put_aside_and_others() -> None:
    low, first = await enqueue(IN_THREAD.using(priority=-1), 1, 1), await enqueue(IN_THREAD, 1, 1)
    assert await claim(0) == []
    second = await enqueue(sample_tasks.add, 1, 1)
    high = await enqueue(IN_THREAD.using(priority=1), 1, 1)
    last = await enqueue(sample_tasks.add.using(priority=-2), 1, 1)
    assert await claim(2, slots=3) == [high.id, first.id, second.id]
    assert await claim(2) == [low.id, last.id]


async def test_who_waits_for_a_thread_takes_nobodys_slot() -> None:
    one = {"concurrency_key": "model", "concurrency": 1}
    waiting = await enqueue(IN_THREAD.using(**one), 1, 1)
    other = await enqueue(sample_tasks.add.using(**one), 1, 1)
    [attempt] = await claimed(0)
    assert attempt.id == other.id
    await settle(attempt)
    [attempt] = await claimed(1)
    assert attempt.id == waiting.id
    await settle(attempt)
    await assert_no_keys_are_left()


async def test_who_waits_for_a_thread_is_stopped_and_counted_like_others() -> None:
    waiting, other = await enqueue(IN_THREAD, 1, 1), await enqueue(IN_THREAD, 1, 1)
    assert await claim(0) == []
    await client.arun(scripts.prune(keys.current().prefix, retention=60))
    [queue] = (await api.read_stats()).queues
    assert (queue.name, queue.waiting) == ("default", 2)
    assert (await api.stop_task(waiting.id, by="alice")).status is TaskState.CANCELED
    assert await claim(9) == [other.id]
    assert await status(waiting.id) is TaskState.CANCELED
    assert await client.client().exists(keys.current().name("threadless", "default")) == 0


async def test_a_retry_by_hand_needs_a_thread_as_the_first_did() -> None:
    first = await enqueue(IN_THREAD, 1, 1)
    [attempt] = await claimed(1)
    await settle(attempt, "failed")
    again = await api.retry_task(first.id)
    assert await claim(0) == []
    assert await claim(1) == [again.id]
