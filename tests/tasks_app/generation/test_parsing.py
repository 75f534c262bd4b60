from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_app.generation.kinds import DEFAULT_TITLE, KINDS, Subject, fallback_title
from tasks_app.generation.parsing import clean_line, without_reasoning
from tasks_app.generation.parsing_json import find_broken_values, find_values
from tasks_app.generation.readers import LONGEST_TITLE, read_title

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
    assert read_title(output) == GOOD


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
        '{"title": ["a", "b"]}',
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
    assert read_title(output) is None


@pytest.mark.parametrize(
    "title", ["Error Handling in Python", "I Can't Sleep", "None of Us", "日本の旅"]
)
def test_titles_that_look_like_refusals_are_titles(title: str):
    assert read_title(f'{{"title": "{title}"}}') == title


def test_a_long_title_is_cut_at_a_word():
    title = read_title('{"title": "' + "word " * 100 + '"}')
    assert title is not None
    assert len(title) <= LONGEST_TITLE
    assert title.endswith("word…")


def test_json_is_found_in_order_and_what_is_broken_by_the_other_reader():
    text = 'x {"a": 1} y {"b": {"c": 2}} [3] {bad} {"d": 4'
    assert list(find_values(text)) == [{"a": 1}, {"b": {"c": 2}}, [3]]
    assert list(find_broken_values(text)) == [{"a": 1}, {"b": {"c": 2}}, [3], {"d": 4}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': 'it's here', 'b': True, 'c': None}", {"a": "it's here", "b": True, "c": None}),
        ("{a: 1.5, b: -2, c: 1e3, d: x y}", {"a": 1.5, "b": -2, "c": 1000.0, "d": "x y"}),
        ('{"a": ["b", ["c", {"d": "e"}', {"a": ["b", ["c", {"d": "e"}]]}),
        ('{"a" => "b", "c" = "d"}', {"a": "b", "c": "d"}),
        ('{/* one */ "a": "b", // two\n "c": "d" # three\n}', {"a": "b", "c": "d"}),
        ('{"a": "b\\u00e9\\n\\"c\\""; "d": "e",}', {"a": 'bé\n"c"', "d": "e"}),
        ('{"a": "\\ud83c\\udf45 \\ud83c",}', {"a": "🍅 \ufffd"}),
        ("{'a', 'b'}", ["a", "b"]),
        ('{"a": ["b", "c"}', {"a": ["b", "c"]}),
    ],
)
def test_broken_json_is_read_with_good_will(text: str, value: object):
    assert next(find_broken_values(text)) == value


def test_cleaning_keeps_what_joins_letters_and_emoji():
    assert clean_line("  «👨‍👩‍👧 Family\tDay\x00!» ", 100) == "👨‍👩‍👧 Family Day !"


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
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_output_is_parsed_in_time(kind: str, output: str):
    KINDS[kind].read(output, Subject(prompt="How"))


@given(st.text(st.sampled_from("{}[]\":,\\<>/|think`title \n'aé“”#-1.?🍅"), max_size=200))
def test_any_output_is_survived_and_what_is_read_is_of_its_kind(output: str):
    for kind in KINDS.values():
        found = kind.read(output, Subject(prompt="a"))
        if found is None:
            continue
        assert isinstance(found, list if kind.is_list else str)
        assert kind.is_list is False or (found and all(isinstance(one, str) for one in found))
        assert isinstance(json.loads(kind.content(found)) if kind.field else {}, dict)
    title = read_title(output)
    assert title is None or 0 < len(title) <= LONGEST_TITLE
    without_reasoning(output)


def test_the_fallback_is_made_of_the_first_telling_user_message():
    messages = [
        {"role": "system", "content": "Be helpful and kind to everybody."},
        {"role": "user", "content": "Hi!"},
        {"role": "assistant", "content": "Hello, how can I help?"},
        {"role": "user", "content": "How do I grow tomatoes on a balcony?"},
    ]
    assert title_instead(*messages) == "Grow tomatoes on a balcony"
    assert title_instead({"role": "assistant", "content": "Welcome aboard"}) == "Welcome aboard"
    assert title_instead({"role": "user", "content": "?"}) == DEFAULT_TITLE
    assert title_instead({"content": [{"type": "image_url"}]}, {}) == "Image"


def title_instead(*messages: dict) -> str:
    return fallback_title(Subject(messages=messages))
