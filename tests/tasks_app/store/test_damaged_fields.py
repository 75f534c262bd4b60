"""Any one field of a record may hold anything: its task ends, the others do not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tasks_app import api
from tasks_app.domain.context import current_task_id
from tasks_app.store import client, keys, scripts
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually

LEASE = 30.0
# None: the field is not there.
VALUES = [None, "", "x{", "\x00\xff", "nan", "inf", "1e400", "-1", "1.5", "9" * 400, "[[", "0"]
# What a damaged record cannot tell any more: whose it was, and which keys it held.
UNTOLD = ("user:", "unique:", "debounce:", "supersede:", "slots:", "held:", "blocked", "children:")


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


async def enqueue(number: int, **options: Any) -> str:
    """Enqueue a task that has every field a record can have."""
    definition = sample_tasks.add.using(
        debounce=0.001, debounce_key=f"d{number}", max_wait=60, unique_key=f"u{number}",
        supersede_key=f"s{number}", concurrency_key=f"k{number}", concurrency=2, timeout=30,
        expires_in=60, run_after=timezone.now() - timedelta(seconds=1), **options,
    )  # fmt: skip
    ask = api.Ask(item_id="chat", user_id="7", restartable=False)
    return (await api.enqueue_task(definition, args=(1, 2), ask=ask)).id


async def one_for_each_field(parent: str) -> dict[str, str]:
    """Enqueue a task for each field that a record has; answer field and id."""
    token = current_task_id.set(parent)
    try:
        first = await enqueue(0)
        fields = await client.client().hkeys(keys.current().task(first))
        return {field: await enqueue(number) for number, field in enumerate(fields, 1)}
    finally:
        current_task_id.reset(token)


async def damage(task_id: str, field: str, value: str | None) -> None:
    if value is None:
        await client.client().hdel(keys.current().task(task_id), field)
    else:
        await client.client().hset(keys.current().task(task_id), field, value)


async def make_all_due() -> None:
    names = keys.current()
    for task_id in await client.client().zrange(names.name("scheduled"), 0, -1):
        await client.client().zadd(names.name("scheduled"), {task_id: 1})


async def nothing_unfinished() -> bool:
    left = await api.unfinished_ids()
    assert not left, [await api.get_task(task_id) for task_id in left]
    return True


async def assert_nothing_is_left(prefix: str) -> None:
    assert await api.unfinished_ids(item_id="chat") == []
    while await client.arun(scripts.prune(keys.current().prefix, retention=-1)):
        pass
    names = {key.removeprefix(f"{prefix}:") for key in await client.client().keys(f"{prefix}:*")}
    left = {name for name in names if not name.startswith((*UNTOLD, "claims:", "workers"))}
    assert left <= {"sequence", "metrics"}


@pytest.mark.parametrize("value", VALUES)
async def test_a_waiting_task_ends_whichever_field_is_damaged(
    value: str | None, redis_prefix: str
) -> None:
    parent = await enqueue(99)
    damaged = await one_for_each_field(parent)
    for field, task_id in damaged.items():
        await damage(task_id, field, value)
    await make_all_due()
    async with running(Worker(grace=0.2)):
        good = (await api.enqueue_task(sample_tasks.add, args=(1, 2))).id
        assert (await api.wait_task(good, 10)).result == 3
        if value is not None:  # it waits where its record says; nobody serves that queue
            await api.stop_task(damaged["queue"], by="alice")
        await eventually(nothing_unfinished, within=10)
        for task_id in damaged.values():
            assert (await api.get_task(task_id)).is_finished
    await assert_nothing_is_left(redis_prefix)


@pytest.mark.parametrize("value", VALUES)
async def test_a_running_task_is_written_about_whichever_field_is_damaged(
    value: str | None, redis_prefix: str
) -> None:
    """Every call about it is answered, and reaping and delivering it again comes to an end."""
    prefix = keys.current().prefix
    damaged = await one_for_each_field(await enqueue(99))
    await make_all_due()
    tokens = {attempt.id: attempt.token for attempt in await claim()}
    for field, task_id in damaged.items():
        await damage(task_id, field, value)
    for number, task_id in enumerate(damaged.values()):
        lease = {"task_id": task_id, "token": tokens[task_id]}
        flush = scripts.Flush(number=1, text="x", progress=0.5, message="", events=(("n", "1"),))
        await client.arun(scripts.emit(prefix, **lease, flush=flush))
        if number % 3 == 0:
            await client.arun(scripts.stop(prefix, task_id=task_id, by="alice", reason="user"))
        if number % 2 == 0:
            await client.arun(scripts.settle(prefix, **lease, outcome="retry"))
    leases = list(tokens.items())
    codes = await client.arun(scripts.renew(prefix, instance="w", lease=LEASE, leases=leases))
    assert len(codes) == len(leases)
    for _ in range(10):
        await make_all_due()
        await claim()
        for task_id in await client.client().zrange(keys.current().name("running"), 0, -1):
            await client.client().zadd(keys.current().name("running"), {task_id: 1})
        await client.arun(scripts.reap(prefix, lease=LEASE))
    assert await nothing_unfinished()
    await assert_nothing_is_left(redis_prefix)


async def claim() -> list[Any]:
    prefix = keys.current().prefix
    call = scripts.claim(prefix, instance="w", slots=100, lease=LEASE, queues=["default"])
    return (await client.arun(call)).attempts
