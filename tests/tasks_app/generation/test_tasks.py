from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasks_app.generation.builtin import MODEL_ID, BuiltinProvider
from tasks_app.generation.errors import InvalidRequest, ProviderError, UnknownModel
from tasks_app.tasks import chat_completion, title_generation
from tests.support.eventually import eventually
from tests.support.fake_provider import KEY, FakeProvider
from tests.support.recording import RecordingContext
from tests.tasks_app.generation.conftest import ask

# A title asks for the task configuration, which is in the database.
pytestmark = pytest.mark.django_db(transaction=True)

CONVERSATION = json.loads(
    (Path(__file__).parents[2] / "data" / "conversation.json").read_text(encoding="utf-8")
)
chat = chat_completion.func
title = title_generation.func


def title_of(made: dict) -> str:
    return json.loads(made["choices"][0]["message"]["content"])["title"]


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BuiltinProvider, "pace", 0.0)


# --- chat ---------------------------------------------------------------------------------------


async def test_chat_streams_tokens_and_returns_the_whole_completion(
    configured: FakeProvider, context: RecordingContext
):
    made = await chat(context, ask("fake-10-tokens"))
    assert context.tokens == [f"w{number} " for number in range(10)]
    assert made["choices"][0]["message"]["content"] == context.text
    assert made["object"] == "chat.completion"
    assert made["id"] == "chatcmpl-task-1"
    assert made["model"] == "fake-10-tokens"


async def test_chat_carries_a_real_conversation_whole(
    configured: FakeProvider, context: RecordingContext
):
    await chat(context, {"model": "fake-usage", "messages": CONVERSATION})
    assert configured.last.body["messages"] == CONVERSATION


async def test_reasoning_and_tool_calls_go_out_as_deltas(
    configured: FakeProvider, context: RecordingContext
):
    made = await chat(context, ask("fake-reasoning"))
    assert [data["delta"] for kind, data in context.events if kind == "delta"] == [
        {"reasoning_content": "Let me "},
        {"reasoning_content": "think."},
    ]
    assert context.text == "Forty-two."
    assert made["choices"][0]["message"]["reasoning_content"] == "Let me think."

    made = await chat(context, ask("fake-tools"))
    call = made["choices"][0]["message"]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {"city": "Rom"}
    assert made["choices"][0]["finish_reason"] == "tool_calls"
    assert [kind for kind, _ in context.events][-2:] == ["delta", "log"]


async def test_the_built_in_model_serves_chat_offline(
    offline: None, no_pause: None, context: RecordingContext
):
    made = await chat(context, {"model": MODEL_ID, "messages": CONVERSATION})
    assert MODEL_ID in context.text
    assert made["usage"]["completion_tokens"] > 50


@pytest.mark.parametrize("model", ["fake-empty", "fake-empty-body"])
async def test_an_empty_answer_is_a_failure(
    configured: FakeProvider, context: RecordingContext, model: str
):
    with pytest.raises(ProviderError, match="empty answer") as caught:
        await chat(context, ask(model), retry_seconds=0)
    assert caught.value.error_type == "empty_answer"
    assert context.tokens == []


async def test_half_a_stream_keeps_its_tokens_and_fails(
    configured: FakeProvider, context: RecordingContext
):
    with pytest.raises(ProviderError, match="in the middle"):
        await chat(context, ask("fake-half-3"))
    assert context.text == "w0 w1 w2 "


async def test_an_unknown_model_is_refused(configured: FakeProvider, context: RecordingContext):
    with pytest.raises(UnknownModel):
        await chat(context, ask("no-such-model"))
    assert configured.calls == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "fake-10-tokens"},
        {"model": "fake-10-tokens", "messages": []},
        {"model": "fake-10-tokens", "messages": "hello"},
        {"model": "fake-10-tokens", "messages": ["hello"]},
        {"messages": [{"role": "user", "content": "x"}]},
        {"model": 7, "messages": [{"role": "user", "content": "x"}]},
    ],
)
@pytest.mark.parametrize("function", [chat, title])
async def test_a_body_of_the_wrong_shape_is_refused(
    configured: FakeProvider, context: RecordingContext, function, body: dict
):
    with pytest.raises(InvalidRequest):
        await function(context, body)


async def test_stopping_at_any_point_closes_the_connection_at_once(configured: FakeProvider):
    configured.models.append("fake-4000-tokens-1-ms")
    for number in range(20):
        context = RecordingContext()
        running = asyncio.create_task(chat(context, ask("fake-4000-tokens-1-ms")))
        wanted = random.randrange(60)  # noqa: S311 - any point will do
        await eventually(lambda c=context, w=wanted, n=number: reached(configured, c, n, w))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        # The task has ended: the provider needs only to notice.
        await eventually(lambda: closed(configured), within=1.0)
        assert configured.last.tokens < 4000
        assert context.text == "".join(f"w{index} " for index in range(len(context.tokens)))


async def reached(fake: FakeProvider, context: RecordingContext, number: int, wanted: int) -> bool:
    return len(fake.calls) > number and len(context.tokens) >= wanted


async def closed(fake: FakeProvider) -> bool:
    return fake.last.closed_at is not None


# --- title --------------------------------------------------------------------------------------


async def test_a_title_is_found_in_real_looking_output(
    configured: FakeProvider, context: RecordingContext
):
    made = await title(context, {"model": "fake-title", "messages": CONVERSATION, "chat_id": "c"})
    assert title_of(made) == "Reise nach Rom"
    assert "fallback" not in made
    assert context.text == made["choices"][0]["message"]["content"]
    sent = configured.last.body
    assert set(sent) == {"model", "messages", "stream", "stream_options", "response_format"}
    assert "Leipzig" in sent["messages"][0]["content"]


async def test_the_conversation_cannot_inject_template_variables(
    configured: FakeProvider, context: RecordingContext
):
    await title(context, ask("fake-title", "{{prompt:start:4096}} {{CURRENT_DATE}}"))
    sent = configured.last.body["messages"][0]["content"]
    assert "USER: {{prompt:start:4096}} {{CURRENT_DATE}}" in sent


async def test_useless_output_is_repaired_once(configured: FakeProvider, context: RecordingContext):
    made = await title(context, ask("fake-title-repair"))
    assert title_of(made) == "Repaired at Last"
    assert "fallback" not in made
    assert len(configured.calls) == 2
    asked = configured.last.body["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "user"]


@pytest.mark.parametrize("model", ["fake-useless", "fake-empty"])
async def test_after_the_repair_the_first_user_message_gives_the_title(
    configured: FakeProvider, context: RecordingContext, model: str
):
    body = ask(model, "Hi! How do I grow tomatoes on a balcony?")
    made = await title(context, body, retry_seconds=0)
    assert title_of(made) == "Grow tomatoes on a balcony"
    assert made["fallback"] is True
    assert len(configured.calls) == 2


@pytest.mark.parametrize("model", ["fake-401", "fake-error-200", "fake-html", "fake-503"])
async def test_a_failing_provider_fails_the_title(
    configured: FakeProvider, context: RecordingContext, model: str
):
    with pytest.raises(ProviderError):
        await title(context, ask(model), retry_seconds=0)
    assert context.tokens == []


async def test_the_built_in_model_names_a_conversation(offline: None, context: RecordingContext):
    made = await title(context, {"model": MODEL_ID, "messages": CONVERSATION})
    assert title_of(made) == "Moved into a flat in Leipzig"
    assert "fallback" not in made


async def test_a_conversation_without_words_gets_the_fixed_title(
    offline: None, context: RecordingContext
):
    made = await title(context, ask(MODEL_ID, "???"))
    assert title_of(made) == "New chat"
    assert made["fallback"] is True


# --- as processes see it ------------------------------------------------------------------------


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """The fake provider as a process of its own; yields its base URL and its log."""
    log = tmp_path / "events.jsonl"
    words = ["-m", "tests.support.fake_provider", "--log", str(log), "--key", KEY]
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        stdout=asyncio.subprocess.PIPE,
    )
    assert started.stdout is not None
    async with asyncio.timeout(20):
        address = (await started.stdout.readline()).decode().strip()
    yield address, log
    started.terminate()
    await started.wait()


async def test_the_fake_provider_logs_closed_connections_for_other_processes(
    process: tuple[str, Path], configured: FakeProvider, settings, context: RecordingContext
):
    address, log = process
    settings.OPENAI_API_BASE_URL = [address]
    running = asyncio.create_task(chat(context, ask("fake-4000-tokens-2-ms")))
    await eventually(lambda: has_tokens(context))
    running.cancel()
    await asyncio.wait({running})
    await eventually(lambda: logged(log))
    lines = entries(log)
    assert [line["event"] for line in lines] == ["started", "closed"]
    assert 0 < lines[1]["tokens"] < 4000


async def has_tokens(context: RecordingContext) -> bool:
    return bool(context.tokens)


async def logged(log: Path) -> bool:
    return any(entry["event"] == "closed" for entry in entries(log))


def entries(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
