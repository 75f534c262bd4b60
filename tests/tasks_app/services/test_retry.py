"""Retrying by hand: one task, all that failed, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.records import Viewer
from tasks_app.domain.states import TaskState
from tasks_app.errors import NotAllowed, NotRetryable, TaskNotFound
from tasks_app.store import client, keys, scripts
from tasks_app.store.scripts import SettleCode
from tests import sample_tasks


def enqueue(definition: Any = sample_tasks.add, *args: Any, **ask: Any) -> str:
    return api.enqueue_sync(definition, args=args or (1, 2), ask=api.Ask(**ask)).id


def claim() -> list[Any]:
    prefix = keys.current().prefix
    call = scripts.claim(prefix, instance="w", slots=100, lease=30, queues=["default", "other"])
    return client.run(call).attempts


def settle(held: Any, outcome: str) -> None:
    error = '{"type":"ValueError","message":"no"}'
    call = scripts.settle(
        keys.current().prefix, task_id=held.id, token=held.token, outcome=outcome, error=error
    )
    assert client.run(call) is SettleCode.SETTLED


def failed(definition: Any = sample_tasks.add, *args: Any, **ask: Any) -> str:
    task_id = enqueue(definition, *args, **ask)
    settle(next(one for one in claim() if one.id == task_id), "failed")
    return task_id


def found(task_id: str) -> api.Task:
    task = api.find_sync(task_id)
    assert task is not None
    return task


def test_a_retry_is_a_new_task_with_the_arguments_and_the_place_of_the_old() -> None:
    old = failed(sample_tasks.add.using(priority=7), 3, 4, item_id="chat", user_id="9")
    new = found(api.retry_task_sync(old).id)
    assert (new.retried_from, new.status) == (old, TaskState.QUEUED)
    for name in ("name", "queue", "priority", "item_id", "user_id", "path", "payload"):
        assert getattr(new, name) == getattr(found(old), name)
    assert found(old).status is TaskState.FAILED
    [attempt] = claim()
    assert attempt.id == new.id


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled"])
def test_only_what_failed_or_was_canceled_is_retried(outcome: str) -> None:
    task_id = enqueue()
    with pytest.raises(NotRetryable, match="queued"):
        api.retry_task_sync(task_id)
    [held] = claim()
    with pytest.raises(NotRetryable, match="running"):
        api.retry_task_sync(task_id)
    settle(held, outcome)
    assert api.is_retryable(found(task_id)) is (outcome != "succeeded")
    if outcome == "succeeded":
        with pytest.raises(NotRetryable, match="succeeded"):
            api.retry_task_sync(task_id)
    else:
        assert api.retry_task_sync(task_id).retried_from == task_id


async def forget(task_id: str, field: str) -> None:
    await client.client().hdel(keys.current().task(task_id), field)


async def test_a_coroutine_is_not_retried(engine: None) -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    await api.stop_task(task.id, by="ada")
    await forget(task.id, "path")
    with pytest.raises(NotRetryable, match="coroutine"):
        await api.retry_task(task.id)


async def test_who_may(engine: None) -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2), ask=api.Ask(user_id="1"))
    await api.stop_task(task.id, by="ada")
    with pytest.raises(TaskNotFound):
        await api.retry_task(task.id, Viewer(user_id="2", username="bob"))
    with pytest.raises(NotAllowed):
        await api.retry_task(task.id, Viewer(user_id="2", username="w", can_view_all=True))
    assert (await api.retry_task(task.id, Viewer(user_id="1", username="ada"))).user_id == "1"


def test_many_are_answered_one_by_one_in_order() -> None:
    ids = [failed(), "nope", enqueue(), failed(), "../x"]
    answers = api.retry_tasks_sync(ids)
    assert [getattr(one, "retried_from", type(one)) for one in answers] == [
        ids[0], TaskNotFound, NotRetryable, ids[3], TaskNotFound,
    ]  # fmt: skip


# --- all that failed ----------------------------------------------------------------------------


def retried_from(retried: api.Retried) -> list[str | None]:
    return [task.retried_from for task in retried.tasks]


def test_all_failed_are_retried_once() -> None:
    ids = [failed() for _ in range(120)]
    canceled = enqueue()
    settle(claim()[0], "canceled")
    first = api.retry_failed_sync()
    assert retried_from(first) == ids[::-1]
    again = api.retry_failed_sync()
    assert (again.tasks, again.before) == ([], 120)
    assert canceled not in retried_from(first)


def test_a_retry_that_failed_again_is_retried_the_next_time() -> None:
    old = failed()
    new = api.retry_task_sync(old)
    settle(claim()[0], "failed")
    assert retried_from(api.retry_failed_sync()) == [new.id]


def test_two_who_retry_all_at_once_make_no_two_tasks() -> None:
    old = failed()
    first = api.retry_failed_sync()
    # As if the second had read the record before the first one wrote its mark.
    client.run(scripts.Call(int, ("HDEL", keys.current().task(old), "retried_as")))
    assert [task.id for task in api.retry_failed_sync().tasks] == [first.tasks[0].id]


def test_all_failed_can_be_narrowed_and_bounded() -> None:
    other = failed(sample_tasks.add_in_thread)
    ids = [failed() for _ in range(3)]
    elsewhere = failed(queue="other")
    by_name = api.retry_failed_sync(api.Filter(name="add_in_thread"))
    assert retried_from(by_name) == [other]
    assert retried_from(api.retry_failed_sync(api.Filter(queue="other"))) == [elsewhere]
    # `elsewhere` had its turn: it does not count towards the limit.
    assert retried_from(api.retry_failed_sync(limit=2)) == [ids[2], ids[1]]
    assert retried_from(api.retry_failed_sync(limit=2)) == [ids[0]]


def test_what_cannot_be_retried_is_counted() -> None:
    task_id = failed()
    client.run(scripts.Call(int, ("HDEL", keys.current().task(task_id), "path")))
    retried = api.retry_failed_sync()
    assert (retried.tasks, retried.before, retried.impossible) == ([], 0, 1)


def test_the_mark_of_a_retry_leaves_nothing_behind(redis_prefix: str) -> None:
    old = failed()
    new = api.retry_task_sync(old)
    settle(claim()[0], "succeeded")
    assert api.purge_tasks_sync([old, new.id]) == [api.PurgeCode.REMOVED] * 2
    left = client.run(scripts.Call(list, ("KEYS", f"{redis_prefix}:*")))
    assert set(left) <= {f"{redis_prefix}:{name}" for name in ("sequence", "queues", "claims:w")}


# --- the index of the failed ones ---------------------------------------------------------------


async def test_a_list_of_failed_tasks_reads_those_alone(engine: None, monkeypatch: Any) -> None:
    monkeypatch.setattr("tasks_app.services.inspect.SCAN_LIMIT", 200)
    task = await api.enqueue_task(sample_tasks.add.using(max_deliveries=1), args=(1, 2))
    prefix = keys.current().prefix
    await client.arun(scripts.claim(prefix, instance="w", slots=1, lease=30, queues=["default"]))
    await client.client().zadd(keys.current().name("running"), {task.id: 1})
    await client.arun(scripts.reap(prefix, lease=30))
    for _ in range(250):
        await api.enqueue_task(sample_tasks.add, args=(1, 2))
    page = await api.list_tasks(only=api.Filter(status="failed"))
    assert ([one.id for one in page.tasks], page.next_cursor) == ([task.id], None)


async def test_the_failed_ones_come_in_pages_and_only_to_who_may_see_them(engine: None) -> None:
    ids = []
    for owner in ("1", "2", "1"):
        task = await api.enqueue_task(sample_tasks.add, args=(1, 2), ask=api.Ask(user_id=owner))
        prefix = keys.current().prefix
        call = scripts.claim(prefix, instance="w", slots=1, lease=30, queues=["default"])
        [held] = (await client.arun(call)).attempts
        call_end = scripts.settle(prefix, task_id=held.id, token=held.token, outcome="failed")
        await client.arun(call_end)
        ids.append(task.id)
    only = api.Filter(status="failed")
    first = await api.list_tasks(only=only, limit=2)
    rest = await api.list_tasks(only=only, limit=2, cursor=first.next_cursor)
    assert [task.id for task in [*first.tasks, *rest.tasks]] == ids[::-1]
    mine = await api.list_tasks(only=only, viewer=Viewer(user_id="1", username="ada"))
    assert [task.id for task in mine.tasks] == [ids[2], ids[0]]
