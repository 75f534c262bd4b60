"""Calls whose answers were lost, or that were only partly run, are sent again without harm."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys, scripts
from tasks_app.store.scripts import Call, SettleCode
from tests import sample_tasks

LEASE = 30.0


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


def claim(number: int, slots: int = 10) -> Call[scripts.Claim]:
    return scripts.claim(
        keys.current().prefix, instance="w", slots=slots, lease=LEASE, queues=["default"],
        number=number,
    )  # fmt: skip


def emit(attempt: Any, number: int, text: str) -> Call[bool]:
    flush = scripts.Flush(number=number, text=text, progress=None, message="", events=())
    prefix = keys.current().prefix
    return scripts.emit(prefix, task_id=attempt.id, token=attempt.token, flush=flush)


def settle(attempt: Any, flushed: int) -> Call[SettleCode]:
    return scripts.settle(
        keys.current().prefix, task_id=attempt.id, token=attempt.token, outcome="succeeded",
        result="1", flushed=flushed,
    )  # fmt: skip


async def test_a_claim_whose_answer_was_lost_is_answered_again() -> None:
    ids = {(await api.enqueue_task(sample_tasks.add, args=(1, 2))).id for _ in range(3)}
    first = await client.arun(claim(1))
    later = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    again = await client.arun(claim(1))
    assert {attempt.id for attempt in again.attempts} == ids
    assert again.attempts == first.attempts
    following = await client.arun(claim(2))
    assert [attempt.id for attempt in following.attempts] == [later.id]
    assert (await api.get_task(later.id)).attempts == 1


async def test_a_repeated_claim_leaves_out_what_another_has_since() -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    await client.arun(claim(1))
    await client.client().zadd(keys.current().name("running"), {task.id: 1})
    await client.arun(scripts.reap(keys.current().prefix, lease=LEASE))
    assert (await client.arun(claim(1))).attempts == []


async def test_an_end_waits_for_the_output_before_it() -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    [attempt] = (await client.arun(claim(1))).attempts
    assert await client.arun(settle(attempt, flushed=1)) is SettleCode.OUTPUT_MISSING
    assert (await api.get_task(task.id)).status is TaskState.RUNNING
    both = [emit(attempt, 1, "said"), settle(attempt, flushed=1)]
    assert await client.arun_all(both) == [True, SettleCode.SETTLED]


async def test_output_is_kept_when_only_some_scripts_are_known_to_redis() -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    [attempt] = (await client.arun(claim(1))).attempts
    await client.client().script_flush()
    await client.client().script_load(scripts.script("settle").source)
    for _ in range(2):
        await client.arun_all([emit(attempt, 1, "said"), settle(attempt, flushed=1)])
    assert (await api.get_task(task.id)).status is TaskState.SUCCEEDED
    assert await client.client().get(keys.current().name("text", task.id)) == "said"


async def test_one_refused_call_leaves_the_others_their_answers() -> None:
    await client.client().set(keys.current().name("queue", "broken"), "no sorted set")
    broken = scripts.claim(
        keys.current().prefix, instance="w", slots=1, lease=LEASE, queues=["broken"]
    )
    answers = await client.arun_each([broken, claim(2)])
    assert isinstance(answers[0], StoreUnavailable)
    assert answers[1].attempts == []
