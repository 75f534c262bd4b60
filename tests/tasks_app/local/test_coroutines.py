"""A coroutine is a task: registered before it starts, listed, stopped, and ended once."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any

import pytest

import tasks_app
from tasks_app import (
    api,
    cleanup_task,
    create_task,
    has_active_tasks,
    list_task_ids_by_item_id,
    list_tasks,
    stop_item_tasks,
    stop_task,
)
from tasks_app.domain.records import Viewer
from tasks_app.domain.states import TaskState
from tasks_app.errors import InvalidTask, TaskExists, TaskNotFound
from tasks_app.local import service
from tasks_app.store import client, keys, scripts
from tasks_app.worker import heartbeat
from tests import sample_tasks
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


async def ended(task_id: str) -> Any:
    task = await api.wait_task(task_id, 10)
    assert task.is_finished
    return task


async def kinds(task_id: str) -> list[str]:
    async with aclosing(api.follow(task_id)) as events:
        return [f"{e.type}:{e.data['status']}" async for e in events]


async def value(of: Any = None) -> Any:
    return of


async def nothing_held() -> bool:
    held = service.local_tasks()
    return not (held._started or held._arriving)


async def waiting(said: list[str] | None = None) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        if said is not None:
            said.append("finally")


async def running(coroutine: Coroutine[Any, Any, Any], **options: Any) -> tuple[str, Any]:
    """Create it and let it take its first step."""
    task_id, task = await create_task(coroutine, **options)
    await asyncio.sleep(0)
    return task_id, task


# --- works ---------------------------------------------------------------------------------------


async def test_it_is_a_task_like_any_other_while_it_runs() -> None:
    task_id, task = await running(waiting(), item_id="chat-1")
    assert isinstance(task, asyncio.Task)
    shown = await api.get_task(task_id)
    assert (shown.status, shown.item_id, shown.user_id) == (TaskState.RUNNING, "chat-1", None)
    assert (shown.name, shown.attempts) == ("waiting", 1)
    assert shown.instance == service.local_tasks().instance
    assert [one.id for one in (await api.list_tasks()).tasks] == [task_id]
    assert api.find_sync(task_id) is not None
    redis, names = client.client(), keys.current()
    assert await redis.hgetall(names.name("tasks")) == {task_id: "chat-1"}
    assert await redis.smembers(names.item("chat-1")) == {task_id}
    assert await redis.zscore(names.name("running"), task_id)
    assert await redis.hget(names.task(task_id), "local") == "1"
    assert await list_tasks() == await list_task_ids_by_item_id("chat-1") == [task_id]
    assert await has_active_tasks("chat-1")
    assert not await has_active_tasks("chat-2")


async def test_it_is_registered_before_it_starts() -> None:
    async def status(task_id: str) -> str:
        return (await api.get_task(task_id)).status.value

    task_id, task = await create_task(status("mine"), task_id="mine")
    assert (task_id, await task) == ("mine", "running")


async def test_its_result_is_kept() -> None:
    task_id, task = await create_task(value({"a": [1, "ü"]}), item_id="chat-1")
    assert await task == {"a": [1, "ü"]}
    shown = await ended(task_id)
    assert (shown.status, shown.result) == (TaskState.SUCCEEDED, {"a": [1, "ü"]})
    assert await list_tasks() == []
    assert not await client.client().exists(keys.current().item("chat-1"))
    assert await kinds(task_id) == ["update:running", "end:succeeded"]


class Hostile(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")

    def __bool__(self) -> bool:
        raise RuntimeError("no")


@pytest.mark.parametrize("result", [object(), float("nan"), {1, 2}, Hostile(a=1), "x" * 9_000_000])
async def test_a_result_that_is_no_json_is_no_failure(result: Any) -> None:
    task_id, task = await create_task(value(result))
    assert await task is result
    shown = await ended(task_id)
    assert (shown.status, shown.result, shown.error) == (TaskState.SUCCEEDED, None, None)


async def test_what_it_raises_is_its_error() -> None:
    async def breaks() -> None:
        raise ValueError("the reason")

    task_id, task = await create_task(breaks())
    with pytest.raises(ValueError, match="the reason"):
        await task
    shown = await ended(task_id)
    assert shown.status is TaskState.FAILED
    assert shown.error == {"type": "ValueError", "message": "the reason"}


@pytest.mark.parametrize("steps", [0, 3])
async def test_its_own_program_may_cancel_it(steps: int) -> None:
    task_id, task = await create_task(waiting())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    shown = await ended(task_id)
    assert (shown.status, shown.stopped_by, shown.reason) == ("canceled", "system", "program")
    assert (await kinds(task_id))[-1] == "end:canceled"


async def test_a_cancellation_that_nobody_asked_for_is_a_failure() -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    task_id, _ = await create_task(gives_up())
    shown = await ended(task_id)
    assert shown.error is not None
    assert (shown.status, shown.error["type"]) == (TaskState.FAILED, "CancelledError")


async def test_inside_it_its_id_is_the_parent_of_what_it_starts() -> None:
    async def parent() -> tuple[str, str]:
        child, task = await create_task(value())
        await task
        return child, (await api.enqueue_task(sample_tasks.add, args=(1, 2))).id

    task_id, task = await create_task(parent())
    for child in await task:
        assert (await api.get_task(child)).parent_id == task_id
    assert (await api.get_task(task_id)).parent_id is None
    other, _ = await create_task(value())  # outside it nothing has changed
    assert (await api.get_task(other)).parent_id is None


async def test_it_keeps_its_lease_and_is_no_worker() -> None:
    task_id, _ = await running(waiting())
    redis, names = client.client(), keys.current()
    before = await redis.zscore(names.name("running"), task_id)

    async def renewed() -> bool:
        return (await redis.zscore(names.name("running"), task_id)) > before

    await eventually(renewed)
    assert await api.workers_alive() == 0


async def test_a_program_may_forget_the_asyncio_task() -> None:
    task_id, _ = await create_task(waiting())
    del _
    gc.collect()
    assert (await stop_task(task_id, wait=True))["status"]
    assert (await api.get_task(task_id)).status is TaskState.CANCELED


# --- stops ---------------------------------------------------------------------------------------


async def test_a_stop_runs_its_finally_and_then_it_is_canceled() -> None:
    said: list[str] = []
    task_id, task = await running(waiting(said))
    assert await stop_task(task_id, wait=True) == {
        "status": True,
        "message": f"Task {task_id} was stopped.",
    }
    assert said == ["finally"]
    assert task.cancelled()
    shown = await api.get_task(task_id)
    assert (shown.status, shown.stopped_by) == (TaskState.CANCELED, "system")
    assert await kinds(task_id) == ["update:running", "update:canceling", "end:canceled"]


async def test_a_stop_by_a_user_names_the_user() -> None:
    task_id, _ = await running(waiting())
    await api.stop_task(task_id, by="alice", wait=5)
    shown = await ended(task_id)
    assert (shown.stopped_by, shown.reason) == ("alice", "user")


async def test_a_stop_without_waiting_is_recorded_when_it_returns() -> None:
    task_id, _ = await running(waiting())
    assert (await stop_task(task_id))["status"]
    assert (await api.get_task(task_id)).status in {TaskState.CANCELING, TaskState.CANCELED}
    await ended(task_id)


async def test_what_has_ended_or_never_was_cannot_be_stopped() -> None:
    task_id, _ = await create_task(value())
    await ended(task_id)
    assert not (await stop_task(task_id))["status"]
    assert not (await stop_task("nobody"))["status"]
    assert not (await stop_task("no id at all"))["status"]
    assert (await api.get_task(task_id)).status is TaskState.SUCCEEDED


async def test_a_coroutine_that_swallows_its_stop_and_returns_is_canceled_all_the_same() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "I go on"
        return ""

    task_id, task = await running(stubborn())
    await stop_task(task_id, wait=True)
    assert await task == "I go on"
    shown = await api.get_task(task_id)
    assert (shown.status, shown.result) == (TaskState.CANCELED, None)


async def test_a_coroutine_that_ignores_its_stop_is_settled_after_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "IGNORED_CANCEL_SECONDS", 0.05)
    released = asyncio.Event()

    async def ignoring() -> str:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    task_id, task = await running(ignoring(), task_id="deaf")
    assert (await stop_task(task_id, wait=True))["status"]
    assert (await api.get_task(task_id)).status is TaskState.CANCELED
    with pytest.raises(TaskExists):
        await create_task(value(), task_id="deaf")  # it still runs
    released.set()
    assert await task == "late"
    await eventually(nothing_held)
    assert (await api.get_task(task_id)).status is TaskState.CANCELED


async def test_a_bare_command_from_another_program_stops_it() -> None:
    task_id, _ = await running(waiting())
    redis, channel = client.client(), keys.current().name("commands")

    async def heard() -> bool:
        await redis.publish(channel, "nonsense")
        await redis.publish(channel, f'{{"action":"stop","task_id":"{task_id}"}}')
        return (await api.get_task(task_id)).is_finished

    await eventually(heard)
    assert (await api.get_task(task_id)).status is TaskState.CANCELED


async def test_a_stop_while_it_is_being_registered_keeps_it_from_starting() -> None:
    said: list[str] = []
    creating = asyncio.create_task(create_task(waiting(said), task_id="early"))
    held = service.local_tasks()
    await asyncio.sleep(0)
    assert "early" in held._arriving
    held._command('{"action":"stop","task_id":"early"}')
    _, task = await creating
    assert (await ended("early")).status is TaskState.CANCELED
    assert task.cancelled()
    assert said == []


async def test_an_item_is_stopped_with_all_its_tasks() -> None:
    ids = [(await running(waiting(), item_id="chat-1"))[0] for _ in range(5)]
    queued = await api.enqueue_task(sample_tasks.add, args=(1, 2), ask=api.Ask(item_id="chat-1"))
    other, _ = await running(waiting(), item_id="chat-2")
    assert (await stop_item_tasks("chat-1"))["status"]
    for task_id in [*ids, queued.id]:
        assert (await ended(task_id)).status is TaskState.CANCELED
    assert await list_task_ids_by_item_id("chat-1") == []
    assert await list_tasks() == [other]
    assert await stop_item_tasks("chat-1") == {
        "status": True,
        "message": "Item chat-1 has no task to stop.",
    }


async def test_a_coroutine_of_a_stopped_item_starts_nothing_new_for_it() -> None:
    said: list[str] = []
    children: list[str] = []

    async def hydra() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            child, _ = await create_task(waiting(said), item_id="chat-1")
            children.append(child)

    task_id, _ = await running(hydra(), item_id="chat-1")
    await stop_item_tasks("chat-1")
    assert (await ended(task_id)).status is TaskState.CANCELED
    child = await ended(children[0])
    assert (child.status, child.reason, child.parent_id) == ("canceled", "parent", task_id)
    assert said == []
    assert not await has_active_tasks("chat-1")


async def test_stops_and_renewals_find_their_own_among_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeat, "RENEWED_TOGETHER", 2)
    ids = [(await running(waiting()))[0] for _ in range(5)]
    held = service.local_tasks()
    # Nobody hears the command: the heartbeat alone finds it.
    await api.subscriptions().remove(keys.current().name("commands"), held._command)
    await api.stop_task(ids[3], by="alice")
    assert (await ended(ids[3])).status is TaskState.CANCELED
    assert set(await list_tasks()) == {*ids} - {ids[3]}


async def test_having_no_owner_it_is_for_staff_alone() -> None:
    task_id, _ = await running(waiting(), item_id="chat-1")
    user = Viewer(user_id="7", username="bob")
    staff = Viewer(user_id="1", username="ada", can_view_all=True, can_change_all=True)
    assert await api.unfinished_ids(user) == await api.stop_item("chat-1", by="bob", viewer=user)
    with pytest.raises(TaskNotFound):
        await api.stop_task(task_id, by="bob", viewer=user)
    assert (await api.get_task(task_id)).status is TaskState.RUNNING
    assert await api.unfinished_ids(staff) == [task_id]
    stopped = await api.stop_task(task_id, by="ada", viewer=staff, wait=5)
    assert stopped.status is TaskState.CANCELED


# --- refuses -------------------------------------------------------------------------------------


async def test_a_taken_id_is_refused_and_the_first_goes_on() -> None:
    await running(waiting(), task_id="mine")
    second = value()
    with pytest.raises(TaskExists, match="mine"):
        await create_task(second, task_id="mine")
    assert inspect.getcoroutinestate(second) == inspect.CORO_CLOSED
    assert (await api.get_task("mine")).status is TaskState.RUNNING


async def test_an_id_that_another_process_has_taken_is_refused() -> None:
    queued = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    second = value()
    with pytest.raises(TaskExists):
        await create_task(second, task_id=queued.id)
    assert inspect.getcoroutinestate(second) == inspect.CORO_CLOSED
    assert (await api.get_task(queued.id)).status is TaskState.QUEUED


async def test_of_two_creators_with_one_id_one_wins() -> None:
    made = await asyncio.gather(
        *(create_task(value(number), task_id="one") for number in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, TaskExists) for one in made) == 4
    assert (await ended("one")).status is TaskState.SUCCEEDED


@pytest.mark.parametrize("task_id", ["", "a b", "x" * 65, "ü", "config", "a\n", "../x"])
async def test_an_id_that_no_path_can_have_is_refused(task_id: str) -> None:
    coroutine = value()
    with pytest.raises(InvalidTask):
        await create_task(coroutine, task_id=task_id)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_an_item_id_is_short_and_a_coroutine_is_a_coroutine() -> None:
    with pytest.raises(InvalidTask):
        await create_task(value(), item_id="x" * 201)
    with pytest.raises(TypeError):
        await create_task(value)  # type: ignore[arg-type]
    task_id, _ = await create_task(value(), item_id="a lone \ud800 surrogate")
    assert (await ended(task_id)).item_id == "a lone ? surrogate"


async def test_a_caller_that_is_cancelled_leaves_nothing_running() -> None:
    for steps in range(1, 13):
        coroutine = value()
        creating = asyncio.create_task(create_task(coroutine, task_id=f"c-{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        creating.cancel()
        await asyncio.gather(creating, return_exceptions=True)

    async def nothing() -> bool:
        return await list_tasks() == []

    await eventually(nothing)
    await eventually(nothing_held)


# --- clean-up ------------------------------------------------------------------------------------


async def test_cleaning_up_writes_the_end_and_may_be_repeated() -> None:
    task_id, task = await create_task(value(1), item_id="chat-1")
    await task
    for _ in range(2):
        await cleanup_task(task_id, "chat-1")
        shown = await api.get_task(task_id)
        assert (shown.status, shown.result) == (TaskState.SUCCEEDED, 1)
    assert (await kinds(task_id)).count("end:succeeded") == 1


async def test_cleaning_up_what_still_runs_does_nothing() -> None:
    task_id, task = await running(waiting())
    await cleanup_task(task_id)
    await cleanup_task("nobody")
    assert not task.done()
    assert (await api.get_task(task_id)).status is TaskState.RUNNING


async def test_nothing_is_left_of_it_after_retention(redis_prefix: str) -> None:
    ids = [(await create_task(value(), item_id="chat-1"))[0], (await running(waiting()))[0]]
    await stop_task(ids[1], wait=True)
    for task_id in ids:
        await ended(task_id)
    await client.arun(scripts.prune(keys.current().prefix, retention=-1))
    left = await client.client().keys(f"{redis_prefix}:*")
    assert left == [f"{redis_prefix}:sequence"]


async def test_many_creators_at_once_are_all_served_and_leave_nothing() -> None:
    async def creator(number: int) -> list[str]:
        return [(await create_task(value(number), item_id=f"chat-{number}"))[0] for _ in range(20)]

    made = await asyncio.gather(*(creator(number) for number in range(50)))
    assert len({task_id for ids in made for task_id in ids}) == 1000

    await eventually(nothing_held, within=20)
    assert await list_tasks() == []
    assert not [
        key async for key in client.client().scan_iter(match=keys.current().item("*"), count=1000)
    ]


def test_the_names_are_exported_without_ceremony() -> None:
    for name in tasks_app.__all__:
        assert getattr(tasks_app, name).__name__ == name
