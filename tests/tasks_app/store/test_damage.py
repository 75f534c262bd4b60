"""A record that was damaged in Redis ends as failed and hurts no other task."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.store import client, keys, scripts
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually

LEASE = 30.0


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


async def wrong_type(task_id: str) -> None:
    await client.client().delete(keys.current().task(task_id))
    await client.client().set(keys.current().task(task_id), "no hash")


async def wrong_output(task_id: str) -> None:
    await client.client().delete(keys.current().name("output", task_id))
    await client.client().set(keys.current().name("output", task_id), "no stream")
    await client.client().hdel(keys.current().task(task_id), "log")  # as after the first token


async def gone(task_id: str) -> None:
    await client.client().delete(keys.current().task(task_id))


async def no_such_state(task_id: str) -> None:
    await client.client().hset(keys.current().task(task_id), "status", "dancing")


async def garbage(task_id: str) -> None:
    numbers = "attempts deliveries max_deliveries score expires timeout failures claims seq due"
    values = dict.fromkeys(f"{numbers} priority progress created payload error".split(), "x{")
    await client.client().hset(keys.current().task(task_id), mapping=values)


async def stripped(task_id: str) -> None:
    fields = await client.client().hkeys(keys.current().task(task_id))
    await client.client().hdel(
        keys.current().task(task_id), *(name for name in fields if name != "status")
    )


DAMAGES = [wrong_type, wrong_output, gone, no_such_state, garbage, stripped]


async def claim() -> list[Any]:
    prefix = keys.current().prefix
    call = scripts.claim(prefix, instance="w", slots=10, lease=LEASE, queues=["default"])
    return (await client.arun(call)).attempts


async def enqueue(**options: Any) -> str:
    return (await api.enqueue_task(sample_tasks.add, args=(1, 2), **options)).id


@pytest.mark.parametrize("damage", DAMAGES)
async def test_the_worker_goes_on_beside_a_damaged_waiting_task(
    damage: Callable[[str], Awaitable[None]], redis_prefix: str
) -> None:
    bad = await enqueue(ask=api.Ask(item_id="chat", user_id="7"))
    await damage(bad)
    good = await enqueue()
    async with running(Worker(grace=0.2)):
        assert (await api.wait_task(good, 5)).result == 3
        await eventually(_nothing_unfinished)
    assert await api.unfinished_ids(item_id="chat") == []
    await client.arun(scripts.prune(keys.current().prefix, retention=-1))
    left = set(await client.client().keys(f"{redis_prefix}:*"))
    # Whose it was, a record that is gone cannot say; nor which note its worker left.
    left = {key for key in left if ":claims:" not in key}
    lasting = {f"{redis_prefix}:{name}" for name in ("sequence", "metrics", "user:7")}
    assert left <= lasting


async def _nothing_unfinished() -> bool:
    return not await api.unfinished_ids()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_leases_beside_a_damaged_one_are_renewed_and_reaped(
    damage: Callable[[str], Awaitable[None]],
) -> None:
    bad, good = await enqueue(), await enqueue()
    tokens = {attempt.id: attempt.token for attempt in await claim()}
    await damage(bad)
    prefix = keys.current().prefix
    leases = [(bad, tokens[bad]), (good, tokens[good])]
    call = scripts.renew(prefix, instance="w", lease=LEASE, leases=leases)
    assert (await client.arun(call))[1] is scripts.LeaseCode.RENEWED
    await client.client().zadd(keys.current().name("running"), {bad: 1, good: 1})
    reaped = dict(await client.arun(scripts.reap(prefix, lease=LEASE)))
    assert reaped[good] == "queued"
    assert good in await api.unfinished_ids()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_running_task_is_stopped_and_settled_without_an_error(
    damage: Callable[[str], Awaitable[None]],
) -> None:
    first, second = await enqueue(), await enqueue()
    tokens = {attempt.id: attempt.token for attempt in await claim()}
    await damage(first)
    await damage(second)
    prefix = keys.current().prefix
    await client.arun(scripts.stop(prefix, task_id=first, by="alice", reason="user"))
    for outcome in ("retry", "succeeded"):
        call = scripts.settle(prefix, task_id=second, token=tokens[second], outcome=outcome)
        await client.arun(call)


@pytest.mark.parametrize("damage", [wrong_type, gone, no_such_state, garbage, stripped])
async def test_a_list_shows_the_others(damage: Callable[[str], Awaitable[None]]) -> None:
    ids = [await enqueue() for _ in range(4)]
    await damage(ids[1])
    shown: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        page = await api.list_tasks(cursor=cursor, limit=1)
        shown += [task.id for task in page.tasks]
        assert all(task.resource() for task in page.tasks)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [task_id for task_id in shown if task_id != ids[1]] == [ids[3], ids[2], ids[0]]


async def test_an_unknown_state_reads_as_failed_and_says_why() -> None:
    task_id = await enqueue()
    await no_such_state(task_id)
    task = await api.get_task(task_id)
    assert task.status is TaskState.FAILED
    assert task.error is not None
    assert task.error["type"] == "DamagedRecord"


async def test_a_damaged_task_is_among_the_failed_ones() -> None:
    bad = await enqueue()
    await no_such_state(bad)
    await claim()
    page = await api.list_tasks(only=api.Filter(status="failed"))
    assert [task.id for task in page.tasks] == [bad]


@pytest.mark.parametrize("cursor", ["9" * 5000, "x", "-1", "\u0663"])
async def test_a_nonsense_cursor_begins_at_the_newest(cursor: str) -> None:
    task_id = await enqueue()
    assert [task.id for task in (await api.list_tasks(cursor=cursor)).tasks] == [task_id]
