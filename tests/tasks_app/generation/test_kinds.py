"""Every kind, from the request to the answer, with a scripted provider and the built-in model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tasks_app.generation import formats
from tasks_app.generation.builtin import MODEL_ID
from tasks_app.generation.configuration import update
from tasks_app.generation.errors import InputTooLong, InvalidRequest, KindDisabled, ProviderError
from tasks_app.generation.kinds import DEFAULT_TAGS, KINDS, NEUTRAL_EMOJI, receive
from tasks_app.tasks import OF_KIND
from tests.support.eventually import eventually
from tests.support.fake_provider import FakeProvider
from tests.support.recording import RecordingContext

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGES = [
    {"role": "user", "content": "How do I grow tomatoes on a windy balcony?"},
    {"role": "assistant", "content": "Tomatoes like sun. Choose short tomatoes, and water them."},
    {"role": "user", "content": "How often do I water the tomatoes in July?"},
]
ANSWERS = ["Water in the morning.", "Water in the morning, and mulch the soil well."]
BODIES: dict[str, dict[str, Any]] = {
    "auto": {"prompt": "How often do I", "type": "general", "messages": MESSAGES},
    "emoji": {"prompt": "We plant tomatoes in the garden"},
    "moa": {"prompt": "When do I water?", "responses": ANSWERS},
}
GOOD = {
    "title": ('{"title": "Balcony Tomatoes"}', "Balcony Tomatoes"),
    "follow_up": ('{"follow_ups": ["And then?"]}', ["And then?"]),
    "tags": ('{"tags": ["Gardening"]}', ["Gardening"]),
    "image_prompt": ('{"prompt": "A balcony in the sun"}', "A balcony in the sun"),
    "queries": ('{"queries": ["water tomatoes"]}', ["water tomatoes"]),
    "auto": ('{"text": " water them?"}', " water them?"),
    "emoji": ("🍅", "🍅"),
    "moa": ("In the morning.", "In the morning."),
}
FALLBACKS = {
    "title": "Grow tomatoes on a windy balcony",
    "follow_up": [],
    "tags": DEFAULT_TAGS,
    "image_prompt": "How often do I water the tomatoes in July?",
    "queries": ["How often do I water the tomatoes in July?"],
    "auto": "",
    "emoji": NEUTRAL_EMOJI,
    "moa": ANSWERS[1],
}


@pytest.fixture(autouse=True)
def _nothing_learnt() -> None:
    formats.forget()


def body(kind: str, model: str, /, **fields: Any) -> dict[str, Any]:
    return {"model": model, **BODIES.get(kind, {"messages": MESSAGES}), **fields}


async def run(kind: str, context: RecordingContext, asked: dict[str, Any]) -> dict[str, Any]:
    return await OF_KIND[kind].func(context, asked, retry_seconds=0)


def answer_in(kind: str, made: dict[str, Any]) -> Any:
    content = made["choices"][0]["message"]["content"]
    field = KINDS[kind].field
    return json.loads(content)[field] if field else content


def test_every_kind_is_a_registered_task_of_its_reference_name():
    for name, kind in KINDS.items():
        assert OF_KIND[name].module_path == f"tasks_app.tasks.{kind.task}"


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_answers_in_its_shape(
    configured: FakeProvider, context: RecordingContext, kind: str
):
    said, expected = GOOD[kind]
    model = f"fake-say:{said}"
    configured.models.append(model)
    made = await run(kind, context, body(kind, model, chat_id="c", temperature=0.1))
    assert made["object"] == "chat.completion"
    assert answer_in(kind, made) == expected
    assert "fallback" not in made
    assert context.text == made["choices"][0]["message"]["content"]
    sent = configured.last.body
    assert sent["temperature"] == 0.1
    assert set(sent) & {"metadata", "chat_id", "prompt", "responses", "type"} == set()
    assert ("response_format" in sent) is bool(KINDS[kind].field)
    assert "{{" not in sent["messages"][0]["content"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "moa"])
async def test_useless_output_is_repaired_once(
    configured: FakeProvider, context: RecordingContext, kind: str
):
    said, expected = GOOD[kind]
    model = f"fake-repair:{said}"
    configured.models.append(model)
    made = await run(kind, context, body(kind, model))
    assert answer_in(kind, made) == expected
    assert "fallback" not in made
    assert len(configured.calls) == 2
    assert KINDS[kind].shape in configured.last.body["messages"][-1]["content"]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_stays_useless_becomes_the_kinds_fallback(
    configured: FakeProvider, context: RecordingContext, kind: str
):
    model = "fake-empty" if kind == "moa" else "fake-useless"
    made = await run(kind, context, body(kind, model))
    assert answer_in(kind, made) == FALLBACKS[kind]
    assert made["fallback"] is True
    assert len(configured.calls) == 2
    assert context.text == made["choices"][0]["message"]["content"]
    warnings = [data["message"] for _, data in context.events if data.get("level") == "warning"]
    assert len(warnings) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["fake-401", "fake-error-200", "fake-html", "fake-half-utf8"])
async def test_a_failing_provider_fails_every_kind(
    configured: FakeProvider, context: RecordingContext, kind: str, model: str
):
    with pytest.raises(ProviderError):
        await run(kind, context, body(kind, model))


@pytest.mark.parametrize("kind", KINDS)
async def test_the_built_in_model_serves_every_kind(
    offline: None, context: RecordingContext, kind: str
):
    made = await run(kind, context, body(kind, MODEL_ID))
    assert made["model"] == MODEL_ID
    assert "fallback" not in made
    expected: dict[str, Any] = {
        "title": "Grow tomatoes on a windy balcony",
        "tags": ["Tomatoes", "Water", "July", "Windy", "Balcony"],
        "auto": " water the tomatoes in July?",
        "emoji": "🍅",
        "moa": ANSWERS[1],
        "queries": ["often water tomatoes July", "often water windy balcony"],
    }
    found = answer_in(kind, made)
    assert found
    if kind in expected:
        assert type(found) is type(expected[kind])


async def test_the_model_and_the_reason_are_in_the_tasks_log(
    configured: FakeProvider, context: RecordingContext
):
    await update({"TASK_MODEL_EXTERNAL": "fake-say:Hello"})
    made = await run("emoji", context, body("emoji", "fake-title"))
    assert made["model"] == "fake-say:Hello"
    assert configured.last.model == "fake-say:Hello"
    level, message = context.events[0][1]["level"], context.events[0][1]["message"]
    assert (level, message) == ("info", "emoji by fake-say:Hello (task model (external))")


async def test_configured_parameters_and_prompts_are_used(
    configured: FakeProvider, context: RecordingContext
):
    await update(
        {
            "TASK_MODEL_PARAMS": {"top_p": 0.5},
            "TASK_KIND_OVERRIDES": {"title": {"reasoning_effort": "low"}},
            "TITLE_GENERATION_PROMPT_TEMPLATE": "Name it: {{prompt:end:4}} {{USER_NAME}}|",
        }
    )
    context.user_id = ""
    await run("title", context, body("title", "fake-title", reasoning_effort="high"))
    sent = configured.last.body
    assert (sent["top_p"], sent["reasoning_effort"]) == (0.5, "low")
    assert sent["messages"][0]["content"] == "Name it: uly? |"


# --- streaming ----------------------------------------------------------------------------------


async def test_merged_answers_are_shown_as_they_come(
    configured: FakeProvider, context: RecordingContext
):
    made = await run("moa", context, body("moa", "fake-10-tokens"))
    assert len(context.tokens) == 10
    assert made["choices"][0]["message"]["content"] == context.text


async def test_reasoning_is_not_shown_in_a_merged_answer(
    configured: FakeProvider, context: RecordingContext
):
    model = "fake-say:<think>Both say water. Really?</think>\n\nWater them daily."
    configured.models.append(model)
    made = await run("moa", context, body("moa", model))
    assert made["choices"][0]["message"]["content"] == context.text == "Water them daily."


async def test_stopping_a_merge_closes_the_connection(
    configured: FakeProvider, context: RecordingContext
):
    running = asyncio.create_task(run("moa", context, body("moa", "fake-4000-tokens-2-ms")))

    async def has_tokens() -> bool:
        return len(context.tokens) > 3

    async def is_closed() -> bool:
        return configured.last.closed_at is not None

    await eventually(has_tokens)
    running.cancel()
    await asyncio.wait({running})
    await eventually(is_closed, within=1.0)


# --- response_format ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "tries", "format_type"),
    [("fake-no-json-schema", 2, "json_object"), ("fake-no-format", 3, None)],
)
async def test_a_refused_format_is_left_out_and_remembered(
    configured: FakeProvider,
    context: RecordingContext,
    model: str,
    tries: int,
    format_type: str | None,
):
    for total in (tries, tries + 1):
        made = await run("title", context, body("title", model))
        assert answer_in("title", made) == "Reise nach Rom"
        assert len(configured.calls) == total
        sent = configured.last.body.get("response_format")
        assert (sent["type"] if sent else None) == format_type


async def test_the_schema_is_the_kinds(configured: FakeProvider, context: RecordingContext):
    await run("title", context, body("title", "fake-title"))
    sent = configured.last.body["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"] == KINDS["title"].schema
    assert list(sent["schema"]["properties"]) == ["title"]


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        ("title", {"messages": []}, "messages"),
        ("title", {"messages": None}, "messages"),
        ("tags", {"messages": "Hello"}, "messages"),
        ("tags", {"messages": ["Hello"]}, "messages"),
        ("queries", {"type": "guess"}, "type"),
        ("auto", {"prompt": "", "messages": []}, "prompt"),
        ("auto", {"prompt": 7}, "prompt"),
        ("auto", {"type": "x" * 101}, "type"),
        ("emoji", {"prompt": " "}, "prompt"),
        ("moa", {"responses": []}, "responses"),
        ("moa", {"responses": ["", "  "]}, "responses"),
        ("moa", {"responses": [{"text": "one"}]}, "responses"),
        ("title", {"model": ""}, "model"),
        ("title", {"model": ["m"]}, "model"),
    ],
)
async def test_what_a_kind_cannot_work_with_is_refused_by_name(
    configured: FakeProvider,
    context: RecordingContext,
    kind: str,
    fields: dict[str, Any],
    field: str,
):
    with pytest.raises(InvalidRequest) as refused:
        await run(kind, context, body(kind, "fake-title", **fields))
    assert list(refused.value.errors) == [field]
    assert configured.calls == []


@pytest.mark.parametrize(
    ("kind", "switch", "fields"),
    [
        ("title", "ENABLE_TITLE_GENERATION", {}),
        ("follow_up", "ENABLE_FOLLOW_UP_GENERATION", {}),
        ("tags", "ENABLE_TAGS_GENERATION", {}),
        ("image_prompt", "ENABLE_IMAGE_PROMPT_GENERATION", {}),
        ("queries", "ENABLE_SEARCH_QUERY_GENERATION", {}),
        ("queries", "ENABLE_RETRIEVAL_QUERY_GENERATION", {"type": "retrieval"}),
        ("auto", "ENABLE_AUTOCOMPLETE_GENERATION", {}),
        ("emoji", "ENABLE_EMOJI_GENERATION", {}),
        ("moa", "ENABLE_MOA_GENERATION", {}),
    ],
)
async def test_every_kind_has_its_switch(
    configured: FakeProvider,
    context: RecordingContext,
    kind: str,
    switch: str,
    fields: dict[str, Any],
):
    await update({switch: False})
    with pytest.raises(KindDisabled):
        await run(kind, context, body(kind, "fake-title", **fields))
    assert configured.calls == []


async def test_each_type_of_query_has_a_switch_of_its_own(
    configured: FakeProvider, context: RecordingContext
):
    await update({"ENABLE_SEARCH_QUERY_GENERATION": False})
    made = await run("queries", context, body("queries", "fake-useless", type="retrieval"))
    assert answer_in("queries", made)


async def test_a_long_input_is_not_completed(configured: FakeProvider, context: RecordingContext):
    await update({"AUTOCOMPLETE_GENERATION_INPUT_MAX_LENGTH": 5})
    with pytest.raises(InputTooLong, match=r"14 characters.*at most 5"):
        await run("auto", context, body("auto", "fake-title"))


# --- odd conversations --------------------------------------------------------------------------

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1000}}


@pytest.mark.parametrize(
    "messages",
    [
        [{}],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": {"text": "Tomatoes"}}],
        [{"role": "user", "content": [IMAGE]}],
        [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE, 7, None]}],
        [{"role": "oracle", "content": "Tomatoes need water."}],
        [{"role": 7, "content": "Tomatoes need water."}],
        [{"role": "user", "content": "{{prompt}} {{MESSAGES}} {{CURRENT_DATE"}],
        [{"role": "user", "content": "Tomatoes. " * 50_000}],
        [{"role": "user", "content": "Tomatoes."}] * 5_000,
    ],
)
@pytest.mark.parametrize("kind", ["title", "tags", "queries", "auto"])
async def test_odd_conversations_get_an_answer(
    offline: None, context: RecordingContext, kind: str, messages: list[Any]
):
    made = await run(kind, context, body(kind, MODEL_ID, messages=messages))
    assert isinstance(answer_in(kind, made), list if KINDS[kind].is_list else str)


async def test_half_a_surrogate_pair_is_not_in_a_fallback(
    configured: FakeProvider, context: RecordingContext
):
    messages = [{"role": "user", "content": "half \ud800 a pair"}]
    made = await run(
        "image_prompt", context, body("image_prompt", "fake-useless", messages=messages)
    )
    assert made["fallback"] is True
    assert answer_in("image_prompt", made) == "half ? a pair"
    assert context.text == made["choices"][0]["message"]["content"]


async def test_an_empty_answer_is_asked_for_once_more_only(
    configured: FakeProvider, context: RecordingContext
):
    made = await OF_KIND["title"].func(
        context, body("title", "fake-empty")
    )  # with all of its budget
    assert made["fallback"] is True
    assert len(configured.calls) == 2


async def test_pictures_are_named_and_not_sent_to_a_task_model(
    configured: FakeProvider, context: RecordingContext
):
    content = [{"type": "text", "text": "What is this? "}, IMAGE]
    messages = [{"role": "user", "content": content}]
    await run("title", context, body("title", "fake-title", messages=messages))
    sent = configured.last.body["messages"][0]["content"]
    assert "USER: What is this? [image]" in sent
    assert "base64" not in sent


async def test_a_huge_conversation_is_cut_by_the_prompt(
    configured: FakeProvider, context: RecordingContext
):
    messages = [{"role": "user", "content": f"{n} " + "Tomatoes. " * 2_000} for n in range(40)]
    for kind in ("title", "follow_up", "tags", "image_prompt", "queries"):
        await run(kind, context, body(kind, "fake-useless", messages=messages))
        assert len(configured.last.body["messages"][0]["content"]) < 15_000


def test_a_prompt_and_a_conversation_stand_in_for_each_other():
    asked = receive(KINDS["emoji"], {"messages": MESSAGES})
    assert asked.prompt == MESSAGES[-1]["content"]
    told = receive(KINDS["title"], {"prompt": "Tomatoes?"})
    assert told.messages == [{"role": "user", "content": "Tomatoes?"}]
    assert receive(KINDS["queries"], {"messages": MESSAGES}).type == "web_search"
