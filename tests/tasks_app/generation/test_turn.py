"""What follows a chat's turn in the background, as a worker runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.generation.configuration import update
from tasks_app.generation.turn import PRIORITY
from tasks_app.models import AccessRule
from tasks_app.tasks import chat_completion, title_generation
from tasks_app.worker.worker import Worker
from tests.support.eventually import eventually
from tests.support.fake_provider import FakeProvider
from tests.tasks_app.generation.conftest import ask

pytestmark = pytest.mark.django_db(transaction=True)

ALL = {"title_generation": True, "tags_generation": True, "follow_up_generation": True}
LONG_CHAT = "chat " * 40


async def turn(model: str, wanted: Any, *, item: str = "chat", user: str = "7") -> api.Task:
    body = ask(model, "Which trees grow fast?", background_tasks=wanted)
    task = await api.enqueue_task(
        chat_completion, kwargs={"body": body}, ask=api.Ask(item_id=item, user_id=user)
    )
    return await api.wait_task(task.id, 10)


async def of(user: str = "7") -> list[api.Task]:
    """Return the background tasks of a user, in the order in which they were enqueued."""
    page = await api.list_tasks(viewer=api.Viewer(user_id=user, username=""))
    return [task for task in reversed(page.tasks) if task.priority == PRIORITY]


async def ended(number: int, user: str = "7") -> list[api.Task]:
    async def are_there() -> list[api.Task]:
        tasks = [task for task in await of(user) if task.is_finished]
        return tasks if len(tasks) == number else []

    return await eventually(are_there, within=10)


def kinds(tasks: list[api.Task]) -> list[str]:
    return [task.name.rpartition(".")[2] for task in tasks]


async def test_they_are_enqueued_after_the_answer_and_know_it(
    configured: FakeProvider, worker: Worker
) -> None:
    configured.models.append("fake-say:Poplars and willows do.")
    answered = await turn("fake-say:Poplars and willows do.", ALL, item=LONG_CHAT)
    assert answered.status is TaskState.SUCCEEDED
    tasks = await ended(3)
    assert sorted(kinds(tasks)) == ["follow_up_generation", "tags_generation", "title_generation"]
    assert {task.item_id for task in tasks} == {LONG_CHAT}
    assert {task.parent_id for task in tasks} == {None}
    assert {task.status for task in tasks} == {TaskState.SUCCEEDED}
    chat, *later = configured.calls
    assert "background_tasks" not in chat.body
    assert len(later) >= 3
    for call in later:
        assert "Poplars and willows do." in json.dumps(call.body["messages"])


async def test_only_what_was_asked_for(configured: FakeProvider, worker: Worker) -> None:
    wanted = {"title_generation": False, "tags_generation": True, "emoji_generation": True}
    await turn("fake-10-tokens", wanted)
    await turn("fake-10-tokens", None)
    await turn("fake-10-tokens", ["title_generation"])  # past the schema of REST
    assert kinds(await ended(1)) == ["tags_generation"]


async def test_nothing_follows_a_turn_that_failed(configured: FakeProvider, worker: Worker) -> None:
    assert (await turn("fake-401", ALL)).status is TaskState.FAILED
    await turn("fake-10-tokens", {"title_generation": True})
    assert kinds(await ended(1)) == ["title_generation"]


async def test_what_is_turned_off_or_closed_to_the_user_is_left_out(
    configured: FakeProvider, worker: Worker
) -> None:
    await update({"ENABLE_TITLE_GENERATION": False})
    rule = await AccessRule.objects.acreate(subject="kind", name="follow_up")
    await rule.groups.aadd(await Group.objects.acreate(name="those"))
    assert (await turn("fake-10-tokens", ALL)).status is TaskState.SUCCEEDED
    assert kinds(await ended(1)) == ["tags_generation"]


async def test_a_new_turn_stops_the_last_ones_when_it_begins(
    configured: FakeProvider, worker: Worker
) -> None:
    await turn("fake-10-tokens", {"title_generation": True})
    (first,) = await ended(1)
    for user in ("7", "8"):
        await api.enqueue_task(
            title_generation, kwargs={"body": ask("fake-hang")},
            ask=api.Ask(item_id="chat", user_id=user, priority=PRIORITY),
        )  # fmt: skip
    own = await api.enqueue_task(  # asked for by the user themselves
        title_generation, kwargs={"body": ask("fake-hang")},
        ask=api.Ask(item_id="chat", user_id="7"),
    )  # fmt: skip
    going = await api.enqueue_task(
        chat_completion,
        kwargs={"body": ask("fake-4000-tokens-2-ms", background_tasks=ALL)},
        ask=api.Ask(item_id="chat", user_id="7"),
    )
    _, stopped = await ended(2)
    assert (stopped.status, stopped.stopped_by, stopped.reason) == (
        TaskState.CANCELED, "system", "superseded",
    )  # fmt: skip
    (other,) = await of("8")
    assert not other.is_finished
    assert not (await api.get_task(own.id)).is_finished
    assert not (await api.get_task(going.id)).is_finished
    assert (await api.get_task(first.id)).status is TaskState.SUCCEEDED
    for task in (other, own, going):
        await api.stop_task(task.id, by="test")
        await api.wait_task(task.id, 5)


async def test_a_new_turn_replaces_what_still_waits(
    configured: FakeProvider, worker: Worker
) -> None:
    await update({"TASK_MODEL_EXTERNAL": "fake-hang"})
    for _ in range(2):
        await turn("fake-10-tokens", {"title_generation": True})
    (first,) = await ended(1)
    assert (first.status, first.reason) == (TaskState.CANCELED, "superseded")
    _, second = await of()
    assert not second.is_finished
    await api.stop_task(second.id, by="test")
    await api.wait_task(second.id, 5)


async def test_a_new_turn_that_asks_for_nothing_stops_what_still_waits_too(
    configured: FakeProvider, worker: Worker
) -> None:
    await update({"TASK_MODEL_EXTERNAL": "fake-hang"})
    await turn("fake-10-tokens", {"title_generation": True})
    await turn("fake-10-tokens", None)
    (stopped,) = await ended(1)
    assert (stopped.status, stopped.reason) == (TaskState.CANCELED, "superseded")


async def test_a_stop_of_the_turn_leaves_them_nothing_to_do(
    configured: FakeProvider, worker: Worker
) -> None:
    task = await api.enqueue_task(
        chat_completion,
        kwargs={"body": ask("fake-4000-tokens-2-ms", background_tasks=ALL)},
        ask=api.Ask(item_id="chat", user_id="7"),
    )

    async def runs() -> bool:
        return bool((await api.get_task(task.id)).status is TaskState.RUNNING)

    await eventually(runs)
    await api.stop_task(task.id, by="somebody")
    assert (await api.wait_task(task.id, 5)).status is TaskState.CANCELED
    await turn("fake-10-tokens", {"title_generation": True})
    assert kinds(await ended(1)) == ["title_generation"]
