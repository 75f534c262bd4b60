"""Arguments, results and exceptions that cannot be kept or shown: a clear end, and nothing more."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.errors import InvalidTask, PayloadTooLarge
from tasks_app.store import client, keys, scripts
from tasks_app.worker.worker import Worker
from tests import hard_tasks, sample_tasks
from tests.conftest import point_at, running


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


async def run(definition: Any, *args: Any) -> api.Task:
    task = await api.enqueue_task(definition, args=args)
    return await api.wait_task(task.id, 10)


async def assert_the_worker_goes_on() -> None:
    assert (await run(sample_tasks.add, 1, 2)).result == 3


# --- arguments ------------------------------------------------


@pytest.mark.parametrize("argument", [object(), {1, 2}, b"\xff", float("nan"), float("inf"), 1j])
async def test_arguments_that_are_not_json_are_refused(argument: Any) -> None:
    with pytest.raises(InvalidTask, match="not JSON"):
        await api.enqueue_task(sample_tasks.add, args=(argument, 1))
    assert await api.unfinished_ids() == []


async def test_arguments_that_contain_themselves_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidTask, match="not JSON"):
        await api.enqueue_task(sample_tasks.add, args=(endless, 1))


async def test_too_large_arguments_are_refused_and_just_fitting_ones_are_not(
    worker: Worker, settings: Any
) -> None:
    settings.TASK_MAX_PAYLOAD_BYTES = 1024
    empty = len('{"args":["",""],"kwargs":{}}')
    with pytest.raises(PayloadTooLarge, match="1025 bytes"):
        await api.enqueue_task(sample_tasks.add, args=("ü" * 498, "x" * (1025 - empty - 996)))
    assert await api.unfinished_ids() == []
    fitting = await run(sample_tasks.add, "ü" * 498, "x" * (1024 - empty - 996))
    assert fitting.status is TaskState.SUCCEEDED


@pytest.mark.parametrize("payload", ["", "{", "[]", "null", '{"args": 1, "kwargs": {}}',
                                     '{"args": [], "kwargs": [1]}', "[" * 50_000])  # fmt: skip
async def test_a_payload_in_redis_that_is_none_fails(payload: str) -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    await client.client().hset(keys.current().task(task.id), "payload", payload)
    async with running(Worker(grace=0.2)):
        ended = await api.wait_task(task.id, 10)
        assert ended.status is TaskState.FAILED
        assert ended.error is not None
        await assert_the_worker_goes_on()


# --- results and exceptions ------------------------------------------------


@pytest.mark.parametrize("kind", sorted(hard_tasks.RESULTS))
async def test_a_result_that_is_not_json_fails_and_says_so(worker: Worker, kind: str) -> None:
    task = await run(hard_tasks.return_by_name, kind)
    assert task.status is TaskState.FAILED
    assert task.error is not None
    assert task.error["message"]
    await assert_the_worker_goes_on()


@pytest.mark.parametrize("kind", sorted(hard_tasks.EXCEPTIONS))
@pytest.mark.parametrize("where", ["coroutine", "thread"])
async def test_an_exception_that_cannot_be_shown_fails_all_the_same(
    worker: Worker, where: str, kind: str
) -> None:
    in_thread = where == "thread"
    task = await run(hard_tasks.raise_odd_in_thread if in_thread else hard_tasks.raise_odd, kind)
    assert task.status is TaskState.FAILED
    assert task.error is not None
    assert task.error["message"]
    assert len(task.error["message"]) < 10_000
    async with aclosing(api.follow(task.id)) as events:
        kinds = [event.type async for event in events]
    assert kinds.count("end") == 1
    await assert_the_worker_goes_on()


# --- names of keys ------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a:b", "{tag}", "{tag}:more", "a{b", "}{", "{}", "it's \"[x]*\\?"]
)
async def test_any_prefix_is_only_a_name(settings: Any, redis_url: str, name: str) -> None:
    """Colons, braces, quotes and patterns in the prefix mean nothing to the engine."""
    prefix = f"{uuid.uuid4().hex[:8]}{name}"
    point_at(settings, redis_url, prefix)
    try:
        async with running(Worker(grace=0.2)):
            await assert_the_worker_goes_on()
            task = await api.enqueue_task(
                sample_tasks.wait_for_stop.using(concurrency=1, unique_key="u", supersede_key="s"),
                ask=api.Ask(item_id="chat", user_id="7"),
            )
            async with aclosing(api.follow(task.id)) as events:
                async for event in events:
                    if event.type == "token":
                        break
            assert await client.client().hkeys(f"{prefix}:tasks") == [task.id]
            assert await client.client().smembers(f"{prefix}:tasks:item:chat") == {task.id}
            assert await api.stop_item("chat", by="alice") == [task.id]
            assert (await api.wait_task(task.id, 5)).status is TaskState.CANCELED
        await client.arun(scripts.prune(keys.current().prefix, retention=-1))
    finally:
        every = [key async for key in client.client().scan_iter(count=1000)]
        left = [key for key in every if key.startswith(prefix)]
        if left:
            await client.client().delete(*left)
    lasting = {f"{prefix}:{name}" for name in ("sequence", "metrics")}
    assert {key for key in left if ":claims:" not in key} == lasting
