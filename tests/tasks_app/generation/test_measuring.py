"""Each call of a model is measured, recorded and said in its task's log, however it ends."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.generation.configuration import update
from tasks_app.models import ModelUsage
from tasks_app.services import usage
from tasks_app.store.allowance import Limits, take_request
from tasks_app.tasks import chat_completion, title_generation
from tasks_app.worker.worker import Worker
from tests.support.eventually import eventually
from tests.support.fake_provider import FakeProvider
from tests.tasks_app.generation.conftest import ask

pytestmark = pytest.mark.django_db(transaction=True)


async def sums() -> list[dict[str, Any]]:
    await usage.aclose()
    return await sync_to_async(lambda: list(ModelUsage.objects.order_by("model").values()))()


async def ended(definition: Any, model: str) -> api.Task:
    task = await api.enqueue_task(definition, kwargs={"body": ask(model)}, ask=api.Ask(user_id="7"))
    return await api.wait_task(task.id, 10)


async def logged(task: api.Task) -> str:
    async with aclosing(api.follow(task.id)) as events:
        return "\n".join(e.data["message"] for e in [e async for e in events] if e.type == "log")


async def test_what_the_provider_counted(configured: FakeProvider, worker: Worker) -> None:
    task = await ended(chat_completion, "fake-usage")
    used = task.result["usage"]
    (row,) = await sums()
    assert (row["kind"], row["model"], row["user_id"]) == ("chat", "fake-usage", "7")
    assert (row["calls"], row["failures"], row["first_tokens"]) == (1, 0, 1)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (
        used["prompt_tokens"], used["completion_tokens"],
    )  # fmt: skip
    assert 0 < row["first_token_seconds"] <= row["seconds"]
    said = await logged(task)
    assert f"{used['prompt_tokens']} prompt and {used['completion_tokens']} completion" in said


async def test_a_repair_is_a_call_of_its_own(configured: FakeProvider, worker: Worker) -> None:
    await ended(title_generation, "fake-title-repair")
    (row,) = await sums()
    assert (row["kind"], row["calls"], row["failures"]) == ("title", 2, 0)


async def test_failures_and_empty_answers(
    configured: FakeProvider, worker: Worker, settings: Any
) -> None:
    settings.PROVIDER_RETRY_SECONDS = 0.0
    for model in ("fake-401", "fake-empty", "fake-reset-3"):
        assert (await ended(chat_completion, model)).status is TaskState.FAILED
    rows = {row["model"]: row for row in await sums()}
    assert {model: row["failures"] for model, row in rows.items()} == {
        "fake-401": 1, "fake-empty": 1, "fake-reset-3": 1,
    }  # fmt: skip
    assert rows["fake-reset-3"]["first_tokens"] == 1
    assert rows["fake-401"]["first_tokens"] == 0


async def test_a_stopped_call_counts_and_is_no_failure(
    configured: FakeProvider, worker: Worker
) -> None:
    task = await api.enqueue_task(
        chat_completion, kwargs={"body": ask("fake-4000-tokens-2-ms")}, ask=api.Ask(user_id="7")
    )
    async with aclosing(api.follow(task.id)) as events:
        async for event in events:
            if event.type == "token":
                break
    await api.stop_task(task.id, by="somebody")
    await api.wait_task(task.id, 5)
    (row,) = await sums()
    assert (row["calls"], row["failures"], row["first_tokens"]) == (1, 0, 1)


async def test_a_model_that_nobody_offers_is_no_call(
    configured: FakeProvider, worker: Worker
) -> None:
    assert (await ended(chat_completion, "no-such-model")).status is TaskState.FAILED
    assert await sums() == []


async def test_what_a_filter_changed_the_model_to_is_recorded(
    configured: FakeProvider, worker: Worker, settings: Any
) -> None:
    settings.SIGNALBOX_FILTERS = ["tests.generation_filters.other_model"]
    await ended(chat_completion, "fake-echo")
    (row,) = await sums()
    assert (row["model"], row["calls"]) == ("fake-usage", 1)


LIMITS = Limits(requests=0, tokens=10)  # of 7 prompt and 1 completion tokens two calls are too much


async def has_tokens() -> bool:
    return await take_request("7", LIMITS) == 0


async def test_a_call_is_charged_as_the_provider_counted(
    configured: FakeProvider, worker: Worker
) -> None:
    await update({"TOKENS_PER_MINUTE": LIMITS.tokens})
    await ended(chat_completion, "fake-usage")
    assert await has_tokens()
    await ended(chat_completion, "fake-usage")
    assert not await has_tokens()


async def test_a_provider_that_does_not_count_is_charged_by_what_came(
    configured: FakeProvider, worker: Worker
) -> None:
    await update({"TOKENS_PER_MINUTE": LIMITS.tokens})
    await ended(chat_completion, "fake-10-tokens")
    assert not await has_tokens()


async def test_a_stopped_call_is_charged_for_what_came(
    configured: FakeProvider, worker: Worker
) -> None:
    await update({"TOKENS_PER_MINUTE": LIMITS.tokens})
    task = await api.enqueue_task(
        chat_completion, kwargs={"body": ask("fake-4000-tokens-2-ms")}, ask=api.Ask(user_id="7")
    )
    async with aclosing(api.follow(task.id)) as events:
        async for event in events:
            if event.type == "token" and "w12 " in event.data["text"]:
                break
    await api.stop_task(task.id, by="somebody")
    assert (await api.wait_task(task.id, 5)).status is TaskState.CANCELED
    assert not await has_tokens()


async def test_a_long_prompt_is_charged_though_nothing_came(
    configured: FakeProvider, worker: Worker
) -> None:
    await update({"TOKENS_PER_MINUTE": LIMITS.tokens})
    body = ask("fake-hang", "x" * 40)

    async def is_asked() -> bool:
        return bool(configured.calls)

    task = await api.enqueue_task(chat_completion, kwargs={"body": body}, ask=api.Ask(user_id="7"))
    await eventually(is_asked)
    await api.stop_task(task.id, by="somebody")
    assert (await api.wait_task(task.id, 5)).status is TaskState.CANCELED
    assert not await has_tokens()


async def test_a_call_that_brought_nothing_costs_nothing(
    configured: FakeProvider, worker: Worker
) -> None:
    await update({"TOKENS_PER_MINUTE": LIMITS.tokens})
    task = await api.enqueue_task(
        chat_completion, kwargs={"body": ask("fake-401", "x" * 400)}, ask=api.Ask(user_id="7")
    )
    await api.wait_task(task.id, 5)
    assert await has_tokens()
