from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_app.generation.parsing import (
    DEFAULT_TITLE,
    LONGEST_TITLE,
    clean_title,
    fallback_title,
    find_objects,
    parse_title,
    without_reasoning,
)

GOOD = "Balcony Tomatoes"


@pytest.mark.parametrize(
    "output",
    [
        '{"title": "Balcony Tomatoes"}',
        '  \n{"title":"Balcony Tomatoes"}\n\n',
        '```json\n{"title": "Balcony Tomatoes"}\n```',
        '~~~\n{"title": "Balcony Tomatoes"}\n~~~',
        'Sure! Here is your title:\n\n{"title": "Balcony Tomatoes"}\n\nEnjoy!',
        '<think>The user wants {"title": "wrong"}.</think>{"title": "Balcony Tomatoes"}',
        '<thinking>\nhm\n</thinking>\n{"title": "Balcony Tomatoes"}',
        '<think>a <think>b</think> c</think>{"title": "Balcony Tomatoes"}',
        'I start thinking without a tag.</think>\n{"title": "Balcony Tomatoes"}',
        '<|channel|>final <|constrain|>json<|message|>{"title": "Balcony Tomatoes"}<|return|>',
        "<|channel|>analysis<|message|>{}<|end|><|channel|>final<|message|>Balcony Tomatoes",
        '{"title": "<the title>"}\n{"title": "Balcony Tomatoes"}',
        '{"Title": "Balcony Tomatoes"}',
        '{"title": "Balcony Tomatoes",}',
        "{'title': 'Balcony Tomatoes'}",
        "{“title”: “Balcony Tomatoes”}",
        '{"title": "Balcony\nTomatoes"}',
        '{"title": "\\"Balcony Tomatoes\\""}',
        '{"title": "**Balcony Tomatoes**"}',
        '{"title": "Balcony Tomatoes."}',
        '{"title": "Balcony Tomatoes"',
        '{"title": "Balcony Tomatoes", "emoji": "🍅", "re',
        '{"result": {"title": "Balcony Tomatoes"}}',
        '[{"title": "Balcony Tomatoes"}]',
        'title: "Balcony Tomatoes"',
        "Title: Balcony Tomatoes",
        "**Title:** Balcony Tomatoes",
        "Here is a title:\nBalcony Tomatoes",
        "Balcony Tomatoes",
        '"Balcony Tomatoes"',
        "# Balcony Tomatoes",
        "```\nBalcony Tomatoes\n```",
        '{note} {"title": "Balcony Tomatoes"} {oops',
        '{"title": "Balcony Tomatoes"}</s>',
    ],
)
def test_finds_the_title_in_real_looking_output(output: str):
    assert parse_title(output) == GOOD


@pytest.mark.parametrize(
    "output",
    [
        "",
        "   \n",
        "<think>I never come to an end",
        "<think>done</think>",
        "{}",
        '{"title": ""}',
        '{"title": null}',
        '{"title": ["a"]}',
        '{"title": "…"}',
        '{"title": "<the title>"}',
        '{"title": "your title here"}',
        '{"name": "Balcony Tomatoes"}',
        "I'm sorry, but I can't name this conversation.",
        "I cannot assist with that request.",
        "Es tut mir leid, das kann ich nicht.",
        "null",
        "<html><body>502 Bad Gateway</body></html>",
        "[1, 2",
        "This is about a balcony on which a couple wants to grow tomatoes, despite all the wind.",
        "one\ntwo\nthree\nfour\nfive",
    ],
)
def test_says_when_there_is_nothing_usable(output: str):
    assert parse_title(output) is None


@pytest.mark.parametrize(
    "title", ["Error Handling in Python", "I Can't Sleep", "None of Us", "日本の旅"]
)
def test_titles_that_look_like_refusals_are_titles(title: str):
    assert parse_title(f'{{"title": "{title}"}}') == title


def test_a_long_title_is_cut_at_a_word():
    title = clean_title("word " * 100)
    assert title is not None
    assert len(title) <= LONGEST_TITLE
    assert title.endswith("word…")


def test_several_objects_are_found_in_order():
    assert list(find_objects('x {"a": 1} y {"b": {"c": 2}} {bad} {"d": 3')) == [
        {"a": 1},
        {"b": {"c": 2}},
    ]


@pytest.mark.parametrize(
    "output",
    [
        "<think>" * 20_000,
        "</think>" * 20_000,
        "{" * 200_000,
        '{"a":' * 50_000,
        "\n" * 200_000,
        "title: " * 30_000,
        '"title": "' * 20_000,
        "<|" * 100_000,
        "<|channel|>final" * 10_000,
        "```\n" * 50_000,
        "{'a':" * 3_000 + "}" * 3_000,
        "," + " " * 19_000 + "{" + ", " * 9_000 + "}",
    ],
)
@pytest.mark.timeout(10)
def test_hostile_output_is_parsed_in_time(output: str):
    parse_title(output)


@given(st.text(st.sampled_from("{}[]\":,\\<>/|think`title \n'aé“"), max_size=200))
def test_any_output_is_survived(output: str):
    title = parse_title(output)
    assert title is None or 0 < len(title) <= LONGEST_TITLE
    without_reasoning(output)


def test_the_fallback_is_made_of_the_first_telling_user_message():
    messages = [
        {"role": "system", "content": "Be helpful and kind to everybody."},
        {"role": "user", "content": "Hi!"},
        {"role": "assistant", "content": "Hello, how can I help?"},
        {"role": "user", "content": "How do I grow tomatoes on a balcony?"},
    ]
    assert fallback_title(messages) == "Grow tomatoes on a balcony"
    assert fallback_title([{"role": "assistant", "content": "Welcome aboard"}]) == "Welcome aboard"
    assert fallback_title([{"role": "user", "content": "?"}]) == DEFAULT_TITLE
    assert fallback_title([{"content": [{"type": "image_url"}]}, {}]) == "Image"
