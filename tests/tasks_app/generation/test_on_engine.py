"""The generation tasks as a worker runs them: events, stop, failure."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.generation.builtin import MODEL_ID, BuiltinProvider
from tasks_app.tasks import chat_completion, title_generation
from tasks_app.worker.worker import Worker
from tests.support.eventually import eventually
from tests.support.fake_provider import FakeProvider
from tests.tasks_app.generation.conftest import ask

pytestmark = pytest.mark.django_db(transaction=True)


async def events_of(task_id: str) -> list[api.Event]:
    async with aclosing(api.follow(task_id)) as events:
        return [event async for event in events]


def text_of(events: list[api.Event]) -> str:
    return "".join(event.data["text"] for event in events if event.type == "token")


async def test_an_answer_arrives_as_events_and_as_the_result(
    configured: FakeProvider, worker: Worker
):
    task = await api.enqueue_task(chat_completion, kwargs={"body": ask("fake-10-tokens")})
    assert task.name.endswith("chat_completion")
    events = await events_of(task.id)
    ended = await api.wait_task(task.id, 5)
    assert ended.status is TaskState.SUCCEEDED
    assert text_of(events) == ended.result["choices"][0]["message"]["content"]
    assert ended.result["id"] == f"chatcmpl-{task.id}"


async def test_reasoning_arrives_as_delta_events(configured: FakeProvider, worker: Worker):
    task = await api.enqueue_task(chat_completion, kwargs={"body": ask("fake-reasoning")})
    events = await events_of(task.id)
    shown = [event.data["delta"] for event in events if event.type == "delta"]
    assert shown == [{"reasoning_content": "Let me "}, {"reasoning_content": "think."}]


async def test_stopping_closes_the_provider_and_keeps_the_text(
    configured: FakeProvider, worker: Worker
):
    body = ask("fake-4000-tokens-2-ms")
    task = await api.enqueue_task(chat_completion, kwargs={"body": body})
    async with aclosing(api.follow(task.id)) as events:
        async for event in events:
            if event.type == "token" and "w5 " in event.data["text"]:
                break
    await api.stop_task(task.id, by="somebody")
    ended = await api.wait_task(task.id, 5)
    assert (ended.status, ended.stopped_by) == (TaskState.CANCELED, "somebody")
    await eventually(lambda: closed(configured))
    events = await events_of(task.id)
    assert text_of(events).startswith("w0 w1 w2 w3 w4 w5 ")
    assert [event.type for event in events].count("end") == 1


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("fake-401", "provider_error"),
        ("fake-half-3", "provider_disconnected"),
        ("fake-empty", "empty_answer"),
        ("no-such-model", "model_not_found"),
    ],
)
async def test_a_failure_names_its_kind_and_ends_once(
    configured: FakeProvider, worker: Worker, settings, model: str, kind: str
):
    settings.PROVIDER_RETRY_SECONDS = 0.0
    task = await api.enqueue_task(chat_completion, kwargs={"body": ask(model)})
    ended = await api.wait_task(task.id, 10)
    assert ended.status is TaskState.FAILED
    assert ended.error is not None
    assert ended.error["type"] == kind
    assert ended.attempts == 1
    assert [event.type for event in await events_of(task.id)].count("end") == 1


async def test_a_title_works_offline(offline: None, worker: Worker):
    body = ask(MODEL_ID, "How do I bake bread at home?")
    task = await api.enqueue_task(title_generation, kwargs={"body": body})
    ended = await api.wait_task(task.id, 5)
    content = ended.result["choices"][0]["message"]["content"]
    assert content == '{"title": "Bake bread at home"}'


async def test_the_built_in_model_can_be_stopped_by_hand(offline: None, worker: Worker):
    task = await api.enqueue_task(chat_completion, kwargs={"body": ask(MODEL_ID, "A long story")})
    async with aclosing(api.follow(task.id)) as events:
        async for event in events:
            if event.type == "token":
                break
    await api.stop_task(task.id, by="somebody", wait=1.0)
    ended = await api.wait_task(task.id, 5)
    assert ended.status is TaskState.CANCELED
    assert text_of(await events_of(task.id))
    # At its pace a whole answer takes seconds: long enough for a hand.
    assert BuiltinProvider.pace * 150 > 2


async def test_a_fault_that_passes_is_survived_within_one_attempt(
    configured: FakeProvider, worker: Worker
):
    task = await api.enqueue_task(chat_completion, kwargs={"body": ask("fake-503-times-1")})
    ended = await api.wait_task(task.id, 10)
    assert (ended.status, ended.attempts) == (TaskState.SUCCEEDED, 1)
    await eventually(lambda: complete(configured))


async def closed(fake: FakeProvider) -> bool:
    return fake.last.closed_at is not None


async def complete(fake: FakeProvider) -> bool:
    return fake.last.is_complete
