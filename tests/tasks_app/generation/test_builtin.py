# ruff: noqa: RUF001 - the punctuation of several scripts is tested here
from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_app.generation.builtin import MODEL_ID, BuiltinProvider, count_tokens, tokens
from tasks_app.generation.completion import CompletionBuilder
from tasks_app.generation.extract import keywords, ranked_sentences, sentences, title_from
from tasks_app.generation.guide import GUIDE, PHRASES
from tasks_app.generation.stopwords import language_of

CONVERSATION = json.loads(
    (Path(__file__).parents[2] / "data" / "conversation.json").read_text(encoding="utf-8")
)


@pytest.fixture
def builtin() -> BuiltinProvider:
    made = BuiltinProvider()
    made.pace = 0.0
    return made


async def collect(provider: BuiltinProvider, **body: object) -> CompletionBuilder:
    built = CompletionBuilder("t", MODEL_ID)
    async for piece in provider.stream({"model": MODEL_ID, **body}):
        built.add(piece)
    return built


def said(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def test_the_conversation_of_the_tests_is_real_and_bilingual():
    assert len(CONVERSATION) >= 24
    languages = [language_of(message["content"]) for message in CONVERSATION]
    assert languages.count("de") >= 8
    assert languages.count("en") >= 8
    assert sum(len(message["content"].split()) for message in CONVERSATION) > 800


async def test_answers_with_sentences_of_the_conversation(builtin: BuiltinProvider):
    built = await collect(builtin, messages=CONVERSATION, max_tokens=2000)
    whole = "\n".join(message["content"] for message in CONVERSATION)
    listed = [line[2:] for line in built.text.splitlines() if line.startswith("- ")]
    assert len(listed) > 20
    assert all(line in whole or line in GUIDE for line in listed)
    assert built.text.count(MODEL_ID) == 1
    assert built.text.endswith(PHRASES["en"]["end"])
    assert built.result()["choices"][0]["finish_reason"] == "stop"


async def test_the_answer_speaks_the_language_of_the_question(builtin: BuiltinProvider):
    for language, question in {
        "de": "Wie kann ich die Tomaten vor dem Wind schützen?",
        "fr": "Comment est-ce que je peux protéger les tomates du vent ?",
        "es": "¿Cómo puedo proteger los tomates del viento?",
        "it": "Come posso proteggere i pomodori dal vento?",
    }.items():
        built = await collect(builtin, messages=said(question))
        assert built.text.startswith(PHRASES[language]["intro"])
        assert question in built.text


async def test_a_short_prompt_streams_long_enough_to_be_stopped(builtin: BuiltinProvider):
    built = await collect(builtin, messages=said("Write a long story about the sea"))
    usage = built.usage
    assert usage is not None
    assert 150 < usage["completion_tokens"] <= 256
    assert usage["prompt_tokens"] == 7


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_max_tokens_is_honoured(builtin: BuiltinProvider, field: str):
    built = await collect(builtin, messages=CONVERSATION, **{field: 5})
    assert built.usage is not None
    assert built.usage["completion_tokens"] == 5
    assert built.result()["choices"][0]["finish_reason"] == "length"


async def test_it_does_not_quote_its_own_former_answers(builtin: BuiltinProvider):
    first = await collect(builtin, messages=said("Tomatoes need sun."))
    messages = [
        *said("Tomatoes need sun."),
        {"role": "assistant", "content": first.text},
        *said("And water?"),
    ]
    assert (await collect(builtin, messages=messages)).text.count(MODEL_ID) == 1


async def test_a_title_is_json_and_comes_at_once():
    builtin = BuiltinProvider()
    builtin.pace = 3600
    metadata = {"task": "title_generation", "messages": CONVERSATION}
    async with asyncio.timeout(5):
        built = await collect(builtin, messages=said("Write a title."), metadata=metadata)
    assert json.loads(built.text) == {"title": "Moved into a flat in Leipzig"}


async def test_it_pauses_between_tokens_and_can_be_closed():
    builtin = BuiltinProvider()
    builtin.pace = 3600
    pieces = builtin.stream({"messages": said("Hello")})
    await anext(pieces)
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await pieces.aclose()


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{}],
        said(""),
        [{"role": "user", "content": [{"type": "image_url"}]}],
        [{"role": "oracle", "content": None}],
        said("x" * 500_000),
        said("a. " * 100_000),
        said("好" * 100_000),
    ],
)
async def test_odd_conversations_get_an_answer(builtin: BuiltinProvider, messages: list[dict]):
    assert MODEL_ID in (await collect(builtin, messages=messages)).text


@given(st.text(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_tokens_lose_nothing(text: str):
    assert "".join(tokens([text])) == text
    assert count_tokens(text) == len(list(tokens([text])))
    sentences(text)
    keywords(text)
    title_from(text)


# --- extraction ---------------------------------------------------------------------------------


def test_sentences_know_abbreviations_lists_code_and_scripts_without_spaces():
    assert sentences("Er wohnt z.B. in Köln. Dr. Meier kam am 3. Mai.") == [
        "Er wohnt z.B. in Köln.",
        "Dr. Meier kam am 3. Mai.",
    ]
    assert sentences("- one\n* two\n1. three!\n```\ncode.\n```\nfour") == [
        "one",
        "two",
        "three!",
        "four",
    ]
    assert sentences("你好。再见！") == ["你好。", "再见！"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hi there! How do I plan a trip from Berlin to Rome?", "Plan a trip from Berlin to Rome"),
        ("Kannst du mir bitte einen Sauerteig erklären?", "Sauerteig erklären"),
        ("Bonjour, comment puis-je installer Python ?", "Installer Python"),
        ("¿Cómo puedo aprender a tocar la guitarra?", "Aprender a tocar la guitarra"),
        ("Vorrei cucinare le lasagne per otto persone.", "Cucinare le lasagne per otto persone"),
        ("你好！请问如何学习人工智能？", "请问如何学习人工智能"),
        ("東京の天気について教えてください。", "東京の天気について教えてください"),
        ("What is asyncio.TaskGroup?", "asyncio.TaskGroup"),
        ("help", "Help"),
        ("?!", ""),
        ("", ""),
    ],
)
def test_titles_in_several_languages(text: str, title: str):
    assert title_from(text) == title


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The tomato needs water. A tomato in the sun needs more water.", "tomato"),
        ("Die Tomate braucht Wasser. Jede Tomate in der Sonne braucht mehr.", "Tomate"),
        ("La tomate a besoin d'eau, et chaque tomate a besoin de soleil.", "tomate"),
        ("El tomate necesita agua y cada tomate necesita sol.", "tomate"),
        ("Il pomodoro vuole acqua, e ogni pomodoro vuole sole.", "pomodoro"),
        ("番茄需要水。番茄需要阳光。", "番茄"),
    ],
)
def test_keywords_in_several_languages(text: str, word: str):
    assert word in keywords(text, 3)


def test_sentences_that_answer_the_question_come_first():
    ranked = ranked_sentences(
        ["The sea is wide.", "Blight needs wet leaves.", "The sea is deep."], "What about blight?"
    )
    assert ranked[0] == "Blight needs wet leaves."


def test_repeated_sentences_are_said_once():
    assert ranked_sentences(["Same thing.", "same thing."]) == ["Same thing."]
