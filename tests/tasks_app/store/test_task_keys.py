"""Unique, debounce, supersede: what an enqueue finds, changes or stops by a key of the task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tasks_app import api
from tasks_app.definition import TaskDefinition
from tasks_app.domain.records import Claimed
from tasks_app.domain.states import TaskState
from tasks_app.store import client, keys, scripts
from tests import sample_tasks

LEASE = 30.0


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


async def enqueue(
    definition: TaskDefinition[..., Any], *args: Any, user_id: str | None = None
) -> api.Task:
    return await api.enqueue_task(definition, args=args, ask=api.Ask(user_id=user_id))


async def claim() -> list[Claimed]:
    call = scripts.claim(
        keys.current().prefix, instance="w", slots=10, lease=LEASE, queues=["default"]
    )
    return (await client.arun(call)).attempts


async def settle(attempt: Claimed, outcome: str = "succeeded", delay: float = 0.0) -> None:
    call = scripts.settle(
        keys.current().prefix, task_id=attempt.id, token=attempt.token, outcome=outcome,
        result="1", delay=delay,
    )  # fmt: skip
    await client.arun(call)


async def status(task_id: str) -> TaskState:
    return (await api.get_task(task_id)).status


async def due(task_id: str) -> float:
    score = await client.client().zscore(keys.current().name("scheduled"), task_id)
    return float(score)


async def make_due(task_id: str) -> None:
    """Let a scheduled task be due now."""
    await client.client().zadd(keys.current().name("scheduled"), {task_id: 1})


async def assert_no_keys_are_left() -> None:
    """Every key of a task goes with it."""
    names = keys.current()
    for kind in ("unique", "debounce", "supersede", "slots", "held"):
        assert await client.client().keys(f"{names.name(kind)}*") == []
    assert await client.client().exists(names.name("blocked")) == 0


# --- unique --------------------------------------------------------------------------------------

ONE = sample_tasks.add.using(unique_key="report-7")


async def test_enqueueing_returns_the_unfinished_task_of_its_unique_key() -> None:
    first = await enqueue(ONE, 1, 2)
    again = await enqueue(ONE, 5, 5)
    assert again.id == first.id
    [attempt] = await claim()
    assert (await enqueue(ONE, 5, 5)).status is TaskState.RUNNING
    await api.stop_task(first.id, by="alice")
    assert (await enqueue(ONE, 5, 5)).status is TaskState.CANCELING
    await settle(attempt)
    assert (await enqueue(ONE, 5, 5)).id != first.id


async def test_a_unique_key_belongs_to_a_user_and_a_definition() -> None:
    other = sample_tasks.add_in_thread.using(unique_key="report-7")
    ids = {
        (await enqueue(ONE, 1, 2, user_id="1")).id,
        (await enqueue(ONE, 1, 2, user_id="2")).id,
        (await enqueue(ONE, 1, 2, user_id='1",')).id,
        (await enqueue(other, 1, 2, user_id="1")).id,
    }
    assert len(ids) == 4


async def test_a_unique_task_that_is_tried_again_keeps_its_key() -> None:
    first = await enqueue(ONE, 1, 2)
    [attempt] = await claim()
    await settle(attempt, "retry", delay=60)
    assert (await enqueue(ONE, 1, 2)).id == first.id
    await api.stop_task(first.id, by="alice")
    await assert_no_keys_are_left()


async def test_a_unique_key_whose_task_was_destroyed_is_free() -> None:
    first = await enqueue(ONE, 1, 2)
    await client.client().delete(keys.current().task(first.id))
    assert (await enqueue(ONE, 1, 2)).id != first.id


# --- debounce ------------------------------------------------------------------------------------

LATER = sample_tasks.add.using(debounce=60, debounce_key="doc")


async def test_a_debounced_task_keeps_its_id_takes_the_latest_arguments_and_waits_anew() -> None:
    first = await enqueue(LATER, 1, 1)
    assert first.status is TaskState.SCHEDULED
    await client.client().zadd(keys.current().name("scheduled"), {first.id: 5})
    again = await enqueue(LATER, 2, 2)
    assert again.id == first.id
    assert again.payload["args"] == [2, 2]
    assert await due(first.id) > 5
    assert len(await api.unfinished_ids()) == 1


async def test_max_wait_limits_the_waiting() -> None:
    limited = LATER.using(debounce=60, max_wait=60)
    first = await enqueue(limited, 1, 1)
    latest = await client.client().hget(keys.current().task(first.id), "latest")
    await client.client().hset(keys.current().task(first.id), "latest", "1234")
    await enqueue(limited, 2, 2)
    assert await due(first.id) == 1234
    assert float(latest) >= await due(first.id)
    [attempt] = await claim()
    assert attempt.id == first.id


async def test_an_enqueue_during_the_run_schedules_one_more() -> None:
    first = await enqueue(LATER, 1, 1)
    await make_due(first.id)
    [attempt] = await claim()
    second = await enqueue(LATER, 2, 2)
    third = await enqueue(LATER, 3, 3)
    assert second.id != first.id
    assert third.id == second.id
    await settle(attempt)
    await make_due(second.id)
    [attempt] = await claim()
    assert '"args":[3,3]' in attempt.payload
    await settle(attempt)
    await assert_no_keys_are_left()


async def test_what_is_due_but_not_started_takes_the_latest_arguments() -> None:
    first = await enqueue(LATER, 1, 1)
    await make_due(first.id)
    full = scripts.claim(
        keys.current().prefix, instance="w", slots=1, lease=LEASE, queues=["another"]
    )
    await client.arun(full)  # promotes it, and takes nothing
    assert await status(first.id) is TaskState.QUEUED
    assert (await enqueue(LATER, 2, 2)).id == first.id
    [attempt] = await claim()
    assert '"args":[2,2]' in attempt.payload


async def test_debounce_is_by_user_definition_and_item() -> None:
    by_item = sample_tasks.add.using(debounce=60)
    ids = {
        (await enqueue(by_item.using(item_id=item), 1, 1, user_id=user)).id
        for item in ("a", "b", "a")
        for user in ("1", "2")
    }
    assert len(ids) == 4


async def test_debouncing_never_starts_a_task_before_the_moment_it_was_asked_for() -> None:
    moment = timezone.now() + timedelta(hours=1)
    early = LATER.using(debounce=1, max_wait=2, run_after=moment)
    first = await enqueue(early, 1, 1)
    assert await due(first.id) == pytest.approx(moment.timestamp() * 1000, abs=1.5)
    await enqueue(early, 2, 2)
    assert await due(first.id) == pytest.approx(moment.timestamp() * 1000, abs=1.5)


async def test_a_task_expires_so_long_after_it_was_due() -> None:
    first = await enqueue(LATER.using(expires_in=1), 1, 1)
    expires = keys.current().task(first.id)
    before = float(await client.client().hget(expires, "expires"))
    assert before == await due(first.id) + 1000
    await client.client().hset(expires, "expires", "5")
    await enqueue(LATER.using(expires_in=1), 2, 2)
    assert float(await client.client().hget(expires, "expires")) >= before
    await make_due(first.id)
    assert [attempt.id for attempt in await claim()] == [first.id]


async def test_a_stopped_debounced_task_leaves_no_key() -> None:
    first = await enqueue(LATER, 1, 1)
    await api.stop_task(first.id, by="alice")
    assert (await enqueue(LATER, 1, 1)).id != first.id


# --- supersede -----------------------------------------------------------------------------------

NEWEST = sample_tasks.add.using(supersede_key="chat-1")


async def test_a_new_task_stops_the_unfinished_one_of_its_key() -> None:
    waiting = await enqueue(NEWEST, 1, 1)
    running = await enqueue(NEWEST, 2, 2)
    stopped = await api.get_task(waiting.id)
    assert stopped.status is TaskState.CANCELED
    assert (stopped.stopped_by, stopped.reason) == ("system", "superseded")
    [attempt] = await claim()
    assert attempt.id == running.id
    newest = await enqueue(NEWEST, 3, 3)
    assert await status(running.id) is TaskState.CANCELING
    await settle(attempt)
    assert await status(newest.id) is TaskState.QUEUED
    [attempt] = await claim()
    await settle(attempt)
    await assert_no_keys_are_left()


async def test_nobody_supersedes_anothers_task() -> None:
    mine = await enqueue(NEWEST, 1, 1, user_id="1")
    await enqueue(NEWEST, 1, 1, user_id="2")
    assert await status(mine.id) is TaskState.QUEUED


async def test_the_same_request_twice_does_not_supersede_itself() -> None:
    from tasks_app.services import enqueue as service  # noqa: PLC0415 the other name is taken

    new = service.prepare(NEWEST, (1, 1), {})
    assert (await service.send(new)).id == (await service.send(new)).id == new.id
    assert await status(new.id) is TaskState.QUEUED
