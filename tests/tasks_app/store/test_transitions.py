"""The scripts make exactly the moves of the table, and refuse the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.states import FINAL, LEASED, TRANSITIONS, WAITING, TaskState, can_move
from tasks_app.store import client, keys, scripts
from tasks_app.store import tasks as store
from tasks_app.store.scripts import Call, LeaseCode, SettleCode, StopCode
from tests import sample_tasks

LEASE = 30.0


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


async def claim(instance: str = "w", lease: float = LEASE) -> list[Any]:
    call = scripts.claim(
        keys.current().prefix, instance=instance, slots=10, lease=lease, queues=["default"]
    )
    return (await client.arun(call)).attempts


def settle(task_id: str, token: str, outcome: str) -> Call[SettleCode]:
    return scripts.settle(
        keys.current().prefix, task_id=task_id, token=token, outcome=outcome, result="1"
    )


async def status(task_id: str) -> TaskState:
    return (await api.get_task(task_id)).status


async def task_in(state: TaskState) -> tuple[str, str]:
    """Bring a task into a state by the engine's own moves; answer its id and last token."""
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    if state is TaskState.QUEUED:
        return task.id, "none"
    attempts = await claim()
    token = next(attempt.token for attempt in attempts if attempt.id == task.id)
    if state is TaskState.SCHEDULED:
        call = scripts.settle(
            keys.current().prefix, task_id=task.id, token=token, outcome="retry", delay=60
        )
        await client.arun(call)
    if state in {TaskState.CANCELING, TaskState.CANCELED}:
        await api.stop_task(task.id, by="alice")
    if state is TaskState.LOST:
        await client.client().hset(keys.current().task(task.id), "local", "1")
        await client.client().zadd(keys.current().name("running"), {task.id: 1})
        await client.arun(scripts.reap(keys.current().prefix, lease=LEASE))
    elif state in FINAL:
        await client.arun(settle(task.id, token, state.value))
    assert await status(task.id) is state
    return task.id, token


def test_the_table_names_every_state_and_final_ones_lead_nowhere() -> None:
    assert set(TRANSITIONS) == set(TaskState)
    assert set(TaskState) == WAITING | LEASED | FINAL
    assert all(not TRANSITIONS[state] for state in FINAL)


@pytest.mark.parametrize("source", list(TaskState))
@pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled", "retry", "release"])
async def test_settle_moves_only_as_the_table_allows(source: TaskState, outcome: str) -> None:
    task_id, token = await task_in(source)
    settled = await client.arun(settle(task_id, token, outcome))
    assert settled is (SettleCode.SETTLED if source in LEASED else SettleCode.REFUSED)
    reached = await status(task_id)
    assert reached is source or can_move(source, reached)
    if source is TaskState.CANCELING:
        assert reached is TaskState.CANCELED


@pytest.mark.parametrize("source", list(TaskState))
async def test_stop_moves_only_as_the_table_allows(source: TaskState) -> None:
    task_id, _ = await task_in(source)
    call = scripts.stop(keys.current().prefix, task_id=task_id, by="alice", reason="user")
    code = await client.arun(call)
    reached = await status(task_id)
    if source in WAITING:
        assert (code, reached) == (StopCode.CANCELED, TaskState.CANCELED)
    elif source in LEASED:
        assert (code, reached) == (StopCode.CANCELING, TaskState.CANCELING)
    else:
        assert (code, reached) == (StopCode.FINISHED, source)


@pytest.mark.parametrize("source", list(TaskState))
async def test_claim_takes_only_what_is_queued(source: TaskState) -> None:
    task_id, _ = await task_in(source)
    claimed = [attempt.id for attempt in await claim("other")]
    assert claimed == ([task_id] if source is TaskState.QUEUED else [])


async def test_a_task_is_claimed_once() -> None:
    await api.enqueue_task(sample_tasks.add, args=(1, 2))
    assert len(await claim("a")) == 1
    assert await claim("b") == []


async def test_priority_first_then_age() -> None:
    low = await api.enqueue_task(sample_tasks.add.using(priority=-5), args=(1, 1))
    first = await api.enqueue_task(sample_tasks.add, args=(1, 1))
    second = await api.enqueue_task(sample_tasks.add, args=(1, 1))
    high = await api.enqueue_task(sample_tasks.add.using(priority=100), args=(1, 1))
    order = [attempt.id for attempt in await claim()]
    assert order == [high.id, first.id, second.id, low.id]


async def test_a_stale_token_changes_nothing() -> None:
    task_id, token = await task_in(TaskState.RUNNING)
    await client.client().zadd(keys.current().name("running"), {task_id: 1})
    await client.arun(scripts.reap(keys.current().prefix, lease=LEASE))
    [again] = await claim("other")
    flush = scripts.Flush(number=1, text="late", progress=0.5, message="", events=())
    emit = scripts.emit(keys.current().prefix, task_id=task_id, token=token, flush=flush)
    renew = scripts.renew(
        keys.current().prefix, instance="w", lease=LEASE, leases=[(task_id, token)]
    )
    assert await client.arun(emit) is False
    assert await client.arun(renew) == [LeaseCode.LOST]
    assert await client.arun(settle(task_id, token, "succeeded")) is SettleCode.REFUSED
    task = await api.get_task(task_id)
    assert (task.status, task.progress, task.attempts) == (TaskState.RUNNING, None, 2)
    assert await client.arun(settle(task_id, again.token, "succeeded")) is SettleCode.SETTLED


async def test_a_repeated_flush_is_written_once() -> None:
    task_id, token = await task_in(TaskState.RUNNING)
    flush = scripts.Flush(
        number=1, text="x", progress=None, message="", events=(("token", '{"text":"x"}'),)
    )
    emit = scripts.emit(keys.current().prefix, task_id=task_id, token=token, flush=flush)
    assert [await client.arun(emit), await client.arun(emit)] == [True, True]
    assert await client.client().get(keys.current().name("text", task_id)) == "x"


async def test_deliveries_to_dying_workers_are_limited() -> None:
    task = await api.enqueue_task(sample_tasks.add.using(max_deliveries=2), args=(1, 2))
    for _ in range(2):
        assert len(await claim()) == 1
        await client.client().zadd(keys.current().name("running"), {task.id: 1})
        await client.arun(scripts.reap(keys.current().prefix, lease=LEASE))
    ended = await api.get_task(task.id)
    assert ended.status is TaskState.FAILED
    assert ended.error is not None
    assert ended.error["type"] == "TooManyDeliveries"


async def test_a_hand_back_is_no_delivery() -> None:
    task = await api.enqueue_task(sample_tasks.add.using(max_deliveries=1), args=(1, 2))
    for _ in range(3):
        [attempt] = await claim()
        await client.arun(settle(task.id, attempt.token, "release"))
    assert await status(task.id) is TaskState.QUEUED


async def test_a_canceling_task_whose_worker_dies_is_canceled_not_run_again() -> None:
    task_id, _ = await task_in(TaskState.CANCELING)
    await client.client().zadd(keys.current().name("running"), {task_id: 1})
    reaped = await client.arun(scripts.reap(keys.current().prefix, lease=LEASE))
    assert reaped == [(task_id, "canceled")]
    assert await claim() == []


@pytest.mark.parametrize("kind", ["token", "delta", "citation"])
async def test_output_that_cannot_be_taken_back_fails_instead_of_restarting(kind: str) -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2), ask=api.Ask(restartable=False))
    [attempt] = await claim()
    text = "x" if kind == "token" else ""
    flush = scripts.Flush(number=1, text=text, progress=None, message="", events=((kind, "{}"),))
    prefix = keys.current().prefix
    await client.arun(scripts.emit(prefix, task_id=task.id, token=attempt.token, flush=flush))
    await client.client().zadd(keys.current().name("running"), {task.id: 1})
    await client.arun(scripts.reap(prefix, lease=LEASE))
    ended = await api.get_task(task.id)
    assert ended.status is TaskState.FAILED
    assert ended.error is not None
    assert ended.error["type"] == "StreamInterrupted"


async def test_progress_and_logs_do_not_keep_an_answer_from_restarting() -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2), ask=api.Ask(restartable=False))
    [attempt] = await claim()
    events = (("log", "{}"), ("progress", "{}"))
    flush = scripts.Flush(number=1, text="", progress=0.5, message="", events=events)
    prefix = keys.current().prefix
    await client.arun(scripts.emit(prefix, task_id=task.id, token=attempt.token, flush=flush))
    await client.client().zadd(keys.current().name("running"), {task.id: 1})
    await client.arun(scripts.reap(prefix, lease=LEASE))
    assert await status(task.id) is TaskState.QUEUED


async def test_an_expired_task_fails_instead_of_starting() -> None:
    task = await api.enqueue_task(sample_tasks.add.using(expires_in=0.001), args=(1, 2))
    await client.client().hset(keys.current().task(task.id), "expires", "1")
    assert await claim() == []
    ended = await api.get_task(task.id)
    assert ended.error is not None
    assert ended.error["type"] == "TaskExpired"


async def test_nothing_is_left_after_retention(redis_prefix: str) -> None:
    ids = [(await task_in(state))[0] for state in sorted(FINAL)]
    item = await api.enqueue_task(
        sample_tasks.add, args=(1, 2), ask=api.Ask(item_id="chat: {1}", user_id="7")
    )
    assert await api.unfinished_ids(item_id="chat: {1}") == [item.id]
    await api.stop_item("chat: {1}", by="alice")
    await client.arun(scripts.prune(keys.current().prefix, retention=-1))
    assert await claim() == []  # the note of the claim before goes with the next, or expires
    left = await client.client().keys(f"{redis_prefix}:*")
    assert left == [f"{redis_prefix}:sequence"]
    assert ids


async def test_the_hash_and_the_set_of_the_contract() -> None:
    names = keys.current()
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2), ask=api.Ask(item_id="chat-1"))
    plain = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    redis = client.client()
    assert await redis.hgetall(f"{names.prefix}tasks") == {task.id: "chat-1", plain.id: ""}
    assert await redis.smembers(f"{names.prefix}tasks:item:chat-1") == {task.id}
    for attempt in await claim():
        await client.arun(settle(attempt.id, attempt.token, "succeeded"))
    assert await redis.exists(f"{names.prefix}tasks", f"{names.prefix}tasks:item:chat-1") == 0


async def test_each_queue_has_its_own_workers_until_they_are_silent() -> None:
    prefix = keys.current().prefix
    facts = '{"queues":["a","b"]}'
    await client.arun(scripts.renew(prefix, instance="w", lease=LEASE, leases=[], facts=facts))
    assert await api.is_served("a")
    assert not await api.is_served("default")
    await client.client().zadd(keys.current().name("workers"), {"w": 1})
    await client.arun(scripts.reap(prefix, lease=LEASE))
    assert not await api.is_served("a")
    assert await client.client().keys(f"{prefix}serving:*") == []


async def test_workers_are_heard_of() -> None:
    assert await api.workers_alive() == 0
    prefix = keys.current().prefix
    await client.arun(scripts.renew(prefix, instance="w", lease=LEASE, leases=[]))
    assert await api.workers_alive() == 1
    assert [name for name, _ in await client.arun(store.workers(keys.current()))] == ["w"]
