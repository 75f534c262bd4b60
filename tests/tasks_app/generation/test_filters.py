from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tasks_app import api, checks
from tasks_app.domain.states import TaskState
from tasks_app.generation import filters
from tasks_app.generation.errors import FilterFailed, Refused
from tasks_app.tasks import OF_KIND, chat_completion
from tasks_app.worker.worker import Worker
from tests import generation_filters
from tests.support.fake_provider import FakeProvider
from tests.support.recording import RecordingContext
from tests.tasks_app.generation.conftest import ask

pytestmark = pytest.mark.django_db(transaction=True)

HERE = "tests.generation_filters"
chat = chat_completion.func
title = OF_KIND["title"].func


@pytest.fixture
def filtered(settings: Any) -> Any:
    def use(*names: str) -> None:
        settings.SIGNALBOX_FILTERS = [f"{HERE}.{name}" for name in names]

    generation_filters.SEEN.clear()
    return use


def said(made: dict[str, Any]) -> str:
    return made["choices"][0]["message"]["content"]


async def test_inlets_change_the_request_in_their_order(
    configured: FakeProvider, context: RecordingContext, filtered: Any
):
    filtered("add_system_prompt", "only_titles")
    await title(context, ask("fake-title"))
    sent = configured.last.body
    assert sent["messages"][0] == {"role": "system", "content": "Kind: title"}
    assert sent["seed"] == 7
    await chat(context, ask("fake-echo"))
    assert "seed" not in configured.last.body
    assert generation_filters.SEEN == [("inlet", "title", "1"), ("inlet", "chat", "1")]


async def test_stream_filters_change_what_is_shown_and_what_is_kept(
    configured: FakeProvider, context: RecordingContext, filtered: Any
):
    filtered("shout")
    made = await chat(context, ask("fake-reasoning"))
    assert context.text == said(made) == "FORTY-TWO."
    deltas = [data["delta"] for kind, data in context.events if kind == "delta"]
    assert deltas == [{"reasoning_content": "LET ME "}, {"reasoning_content": "THINK."}]
    made = await chat(context, ask("fake-tools"))
    assert made["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Tell [the customer] so.", "Tell Ms Byron so."),
        ("[the customer]", "Ms Byron"),
        ("An [open end", "An [open end"),
    ],
)
async def test_a_stream_filter_may_keep_text_back_until_the_end(
    configured: FakeProvider, context: RecordingContext, filtered: Any, text: str, shown: str
):
    filtered("Pseudonyms")
    made = await chat(context, ask("fake-echo", text))
    assert context.text == said(made) == shown


async def test_outlets_change_what_is_returned(
    configured: FakeProvider, context: RecordingContext, filtered: Any
):
    filtered("no_numbers")
    made = await chat(context, ask("fake-10-tokens"))
    assert said(made) == "w# " * 10
    assert context.text.startswith("w0 w1 ")


async def test_an_outlet_of_a_kind_sees_the_models_words_before_they_are_read(
    configured: FakeProvider, context: RecordingContext, filtered: Any
):
    configured.models.append('fake-say:{"title": "Room 101"}')
    filtered("no_numbers")
    made = await title(context, ask('fake-say:{"title": "Room 101"}'))
    assert json.loads(said(made)) == {"title": "Room ###"}
    assert context.text == said(made)


async def test_a_class_keeps_what_it_needs_in_the_calls_state(
    configured: FakeProvider, context: RecordingContext, filtered: Any
):
    filtered("Redact")
    made = await chat(context, ask("fake-echo", "Ada asks: who is Ada?"))
    assert configured.last.body["messages"][0]["content"] == "[name] asks: who is [name]?"
    assert said(made) == "Ada asks: who is Ada?"
    await title(context, ask("fake-title", "Ada asks"))
    assert "Ada" in configured.last.body["messages"][0]["content"]


@pytest.mark.parametrize(("name", "calls"), [("no_secrets", 0), ("refuse_answers", 1)])
async def test_a_refusal_ends_the_task_with_its_reason(
    configured: FakeProvider, context: RecordingContext, filtered: Any, name: str, calls: int
):
    filtered(name)
    for function in (chat, title):
        with pytest.raises(Refused, match=r"Secrets|kept back"):
            await function(context, ask("fake-title", "My secret"))
    assert len(configured.calls) == 2 * calls


@pytest.mark.parametrize(
    "name",
    [
        "broken", "wrong_type", "unmarked", "no_such_filter", "no_match", "leaves_the_program",
        "cancels_itself", "no_json", "no_messages",
    ],
)  # fmt: skip
async def test_a_broken_filter_is_never_skipped_and_says_nothing_to_the_user(
    configured: FakeProvider, context: RecordingContext, filtered: Any, caplog: Any, name: str
):
    filtered(name)
    for function in (chat, title):
        with pytest.raises(FilterFailed) as failed:
            await function(context, ask("fake-title"))
        assert failed.value.detail == FilterFailed.__doc__
        assert failed.value.__cause__ is not None
        assert not isinstance(failed.value.__cause__, TimeoutError)  # told at once
    assert f"{HERE}.{name}" in caplog.text


async def test_a_stop_while_a_filter_runs_is_a_stop(
    configured: FakeProvider, context: RecordingContext, filtered: Any
):
    filtered("endless")
    running = asyncio.create_task(chat(context, ask("fake-echo")))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_half_a_surrogate_pair_of_a_filter_is_not_kept(
    configured: FakeProvider, context: RecordingContext, filtered: Any
):
    filtered("half_a_pair")
    assert said(await chat(context, ask("fake-echo"))) == "a ? b"


async def test_a_filter_that_hangs_is_given_up(
    configured: FakeProvider,
    context: RecordingContext,
    filtered: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    filtered("endless")
    monkeypatch.setattr(filters, "LONGEST_SECONDS", 0.01)
    with pytest.raises(FilterFailed):
        await chat(context, ask("fake-echo"))


async def test_the_operator_finds_the_cause_in_the_task(
    configured: FakeProvider, worker: Worker, filtered: Any
):
    filtered("broken")
    task = await api.enqueue_task(chat_completion, kwargs={"body": ask("fake-echo")})
    ended = await api.wait_task(task.id, 10)
    assert ended.status is TaskState.FAILED
    assert ended.error is not None
    assert ended.error["type"] == "filter_failed"
    assert "business" not in ended.error["message"]


@pytest.mark.parametrize(
    ("named", "id_", "words"),
    [
        ("tests.generation_filters.shout", "tasks_app.E010", "list of dotted paths"),
        (["no.such.module"], "tasks_app.E011", "cannot be imported"),
        ([f"{HERE}.nothing"], "tasks_app.E011", "cannot be imported"),
        (["nodots"], "tasks_app.E011", "cannot be imported"),
        ([f"{HERE}.unmarked"], "tasks_app.E011", "no filter"),
        ([f"{HERE}.NeedsArguments"], "tasks_app.E011", "without arguments"),
        ([f"{HERE}.OneKind"], "tasks_app.E011", "set of kinds"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error_of_the_check(
    settings: Any, named: Any, id_: str, words: str
):
    settings.SIGNALBOX_FILTERS = named
    found = [message for message in checks.check_settings() if message.id == id_]
    assert len(found) == 1
    assert words in found[0].msg


def test_good_filters_pass_the_check(settings: Any):
    settings.SIGNALBOX_FILTERS = [f"{HERE}.shout", f"{HERE}.Redact", f"{HERE}.only_titles"]
    assert [message.id for message in checks.check_settings()] == []


def test_a_mark_needs_its_parentheses():
    with pytest.raises(TypeError, match="with parentheses"):
        filters.inlet(generation_filters.unmarked)  # type: ignore[arg-type]
