"""At most so many tasks of a key run at once, in all workers; who waits is let in as others end."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.records import Claimed
from tasks_app.domain.states import TaskState
from tasks_app.store import client, keys, scripts
from tests import sample_tasks
from tests.tasks_app.store.test_task_keys import (
    LEASE,
    assert_no_keys_are_left,
    claim,
    enqueue,
    settle,
    status,
)

TWO = sample_tasks.add.using(concurrency_key="model", concurrency=2)


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


async def expire(attempt: Claimed) -> None:
    """Let a lease be over, and reap it."""
    await client.client().zadd(keys.current().name("running"), {attempt.id: 1})
    await client.arun(scripts.reap(keys.current().prefix, lease=LEASE))


async def test_no_more_than_the_limit_run_and_the_next_is_let_in() -> None:
    ids = [(await enqueue(TWO, 1, 1, user_id=str(user))).id for user in range(4)]
    other = await enqueue(sample_tasks.add, 1, 1)
    first, second, free = await claim()
    assert [first.id, second.id, free.id] == [ids[0], ids[1], other.id]
    assert await status(ids[2]) is TaskState.QUEUED
    assert await claim() == []
    await settle(first)
    [third] = await claim()
    assert third.id == ids[2]
    assert await claim() == []
    for attempt in (second, third, free):
        await settle(attempt)
    [fourth] = await claim()
    assert fourth.id == ids[3]
    await settle(fourth)
    await assert_no_keys_are_left()


async def test_who_waits_for_a_slot_goes_by_priority() -> None:
    one = TWO.using(concurrency=1)
    await enqueue(one, 1, 1)
    [running] = await claim()
    low = await enqueue(one.using(priority=-1), 1, 1)
    high = await enqueue(one.using(priority=1), 1, 1)
    assert await claim() == []
    await settle(running)
    [running] = await claim()
    assert running.id == high.id
    await settle(running)
    [running] = await claim()
    assert running.id == low.id


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled", "retry", "release"])
async def test_every_end_of_an_attempt_frees_its_slot(outcome: str) -> None:
    one = TWO.using(concurrency=1)
    first = await enqueue(one.using(priority=-5), 1, 1)
    [attempt] = await claim()
    waiting = await enqueue(one, 1, 1)
    assert await claim() == []
    await settle(attempt, outcome, delay=60)
    [next_one] = await claim()
    assert next_one.id == waiting.id
    assert await status(first.id) is not TaskState.RUNNING


async def test_a_dead_workers_slot_is_freed() -> None:
    one = TWO.using(concurrency=1, max_deliveries=1)
    first = await enqueue(one, 1, 1)
    [attempt] = await claim()
    waiting = await enqueue(one, 1, 1)
    assert await claim() == []
    await expire(attempt)
    assert await status(first.id) is TaskState.FAILED
    assert [a.id for a in await claim()] == [waiting.id]


async def test_one_who_waits_for_a_slot_can_be_stopped() -> None:
    one = TWO.using(concurrency=1)
    await enqueue(one, 1, 1)
    [attempt] = await claim()
    waiting = await enqueue(one, 1, 1)
    assert await claim() == []
    assert (await api.stop_task(waiting.id, by="alice")).status is TaskState.CANCELED
    await settle(attempt)
    assert await claim() == []
    await client.arun(scripts.reap(keys.current().prefix, lease=LEASE))
    await assert_no_keys_are_left()


async def test_a_slot_whose_record_was_destroyed_is_found_free_again() -> None:
    one = TWO.using(concurrency=1)
    first = await enqueue(one, 1, 1)
    [attempt] = await claim()
    waiting = await enqueue(one, 1, 1)
    assert await claim() == []
    await client.client().set(keys.current().task(first.id), "damaged")
    await expire(attempt)
    assert [a.id for a in await claim()] == [waiting.id]


async def test_concurrency_alone_limits_the_definition() -> None:
    for _ in range(3):
        await enqueue(sample_tasks.add.using(concurrency=1), 1, 1)
    assert len(await claim()) == 1


async def test_the_limit_holds_and_nobody_is_forgotten_whatever_happens() -> None:
    rng = random.Random(7)  # noqa: S311 a script, not a secret
    limits = {f"key-{n}": n + 1 for n in range(3)}
    held: list[tuple[str, Claimed]] = []
    names: dict[str, str] = {}

    async def step() -> None:
        action = rng.random()
        if action < 0.45 and len(names) < 120:
            name = rng.choice(list(limits))
            definition = sample_tasks.add.using(
                concurrency_key=name, concurrency=limits[name], priority=rng.randint(-2, 2),
                max_deliveries=50,
            )  # fmt: skip
            names[(await enqueue(definition, 1, 1)).id] = name
        elif action < 0.75:
            held.extend((names[a.id], a) for a in await claim())
        elif held:
            _, attempt = held.pop(rng.randrange(len(held)))
            if rng.random() < 0.2:
                await expire(attempt)
            else:
                await settle(attempt, rng.choice(["succeeded", "failed", "retry", "release"]))
        for name, limit in limits.items():
            assert sum(1 for other, _ in held if other == name) <= limit

    for _ in range(600):
        await step()
    while held or (found := await claim()):
        held.extend((names[a.id], a) for a in ([] if held else found))
        while held:
            await settle(held.pop()[1])
        held.extend((names[a.id], a) for a in await claim())
    ended: list[Any] = [await status(task_id) for task_id in names]
    assert set(ended) <= {TaskState.SUCCEEDED, TaskState.FAILED}
    await client.arun(scripts.reap(keys.current().prefix, lease=LEASE))
    await assert_no_keys_are_left()


async def test_who_was_let_in_and_is_stopped_gives_its_turn_to_the_next() -> None:
    one = TWO.using(concurrency=1)
    await enqueue(one, 1, 1)
    [running] = await claim()
    let_in, next_one = await enqueue(one, 1, 1), await enqueue(one, 1, 1)
    assert await claim() == []
    await settle(running)
    await api.stop_task(let_in.id, by="alice")
    assert [attempt.id for attempt in await claim()] == [next_one.id]


async def test_who_waits_first_and_is_stopped_gives_its_place_to_the_next() -> None:
    for _ in range(2):
        await enqueue(TWO, 1, 1)
    running, _ = await claim()
    first = await enqueue(TWO.using(concurrency=1), 1, 1)
    next_one = await enqueue(TWO, 1, 1)
    assert await claim() == []
    await settle(running)
    assert await claim() == []
    await api.stop_task(first.id, by="alice")
    assert [attempt.id for attempt in await claim()] == [next_one.id]
