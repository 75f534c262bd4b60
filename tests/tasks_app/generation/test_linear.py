"""Hostile text costs no more than other text: reading it is linear in its length."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tasks_app.generation import (
    builtin_kinds,
    emoji_words,
    extract,
    parsing,
    parsing_json,
    stopwords,
)
from tasks_app.generation.builtin import LONGEST_CONVERSATION, BuiltinProvider, _written, tokens
from tasks_app.generation.faults import _message_in
from tasks_app.generation.kinds import KINDS, Kind, Subject
from tasks_app.generation.reasoning import ReasoningCut
from tasks_app.generation.sse import SSEParser
from tasks_app.generation.templates import TemplateValues, render
from tests.tasks_app.generation.conftest import ask

VALUES = TemplateValues(now=datetime(2026, 11, 24, tzinfo=UTC), prompt="x")


def in_small_pieces(text: str) -> None:
    parser = SSEParser()
    data = text.encode()
    for first in range(0, len(data), 100):
        parser.feed(data[first : first + 100])
    parser.finish()


def in_small_pieces_of_text(text: str) -> None:
    cut = ReasoningCut()
    for first in range(0, len(text), 10):
        cut.feed(text[first : first + 10])
    cut.finish()


def reading(kind: Kind) -> Callable[[str], object]:
    return lambda text: kind.read(text, Subject(prompt="How do"))


def answering(make: Callable[[Subject], object]) -> Callable[[str], object]:
    def answer(text: str) -> object:
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
        half = text[: len(text) // 2]
        return make(Subject(messages=messages, prompt=half, responses=[text, half]))

    return answer


READERS: dict[str, Callable[[str], object]] = {
    "sentences": extract.sentences,
    "terms": extract.terms,
    "keywords": extract.keywords,
    "ranked_sentences": lambda text: extract.ranked_sentences(extract.sentences(text), text),
    "title_from": extract.title_from,
    "language_of": stopwords.language_of,
    "tokens": lambda text: list(tokens([text])),
    "topics": extract.topics,
    "core_words": extract.core_words,
    "emoji_for": emoji_words.emoji_for,
    "without_reasoning": parsing.without_reasoning,
    "reasoning_cut": in_small_pieces_of_text,
    "find_values": lambda text: list(parsing_json.find_values(text)),
    "find_broken_values": lambda text: list(parsing_json.find_broken_values(text)),
    **{f"read_{name}": reading(kind) for name, kind in KINDS.items()},
    **{f"builtin_{task}": answering(make) for task, make in builtin_kinds.ANSWERS.items()},
    "render": lambda text: render(text, VALUES),
    "sse": in_small_pieces,
    "error_body": lambda text: _message_in(text.encode()),
}

CHARACTERS = "a1 \n\"'!,:.<{[}]|`-_你。\\"
PAIRS = ["".join(pair) for pair in itertools.product(CHARACTERS, CHARACTERS)]
OTHERS = ["a. ", '{"a":', "title ", 'title: "', "<think>", "<think ", "</think>", "```", "~~~ ",
          "{{", "{{a:", "<|channel|>final ", "- ", "sorry ", ", }", "data: x\n",
          "{'a x\n", '["a",', "1. a\n", "<li>a", "&quot;", "\\u00", "https:a "]  # fmt: skip
# One character more than the repetition itself: an anchor before it, or what breaks a match after.
SAMPLES = [
    *((unit, "", "") for unit in [*CHARACTERS, *PAIRS, *OTHERS]),
    *((unit, "title", "x") for unit in CHARACTERS),
    *((unit, "{{MESSAGES", "") for unit in CHARACTERS),
    *((unit, "a", "b") for unit in CHARACTERS),
]
LENGTH = 12_000
SUSPICIOUS_SECONDS = 0.1  # of CPU; quicker than this nothing grew


def seconds(read: Callable[[str], object], sample: tuple[str, str, str], length: int) -> float:
    unit, before, after = sample
    text = before + unit * (length // len(unit)) + after
    began = time.process_time()
    read(text)
    return time.process_time() - began


@pytest.mark.parametrize("name", READERS)
def test_four_times_the_text_takes_about_four_times_as_long(name: str):
    read = READERS[name]
    quadratic = {
        sample: growth
        for sample in SAMPLES
        if seconds(read, sample, LENGTH) > SUSPICIOUS_SECONDS
        if (growth := seconds(read, sample, LENGTH) / seconds(read, sample, LENGTH // 4)) > 9
    }
    assert quadratic == {}


def test_an_endless_line_in_small_pieces_is_read_once():
    sample = ("x", "data: ", "")
    short, long = (seconds(in_small_pieces, sample, size) for size in (400_000, 1_600_000))
    assert long < SUSPICIOUS_SECONDS or long / short < 9


def test_the_built_in_model_reads_so_much_of_a_conversation_and_no_more():
    word = "Stellwerk "
    messages = [{"role": "user", "content": word * 20_000}, *ask("m", "And signals?")["messages"]]
    written, asked = _written({"messages": messages}, 100_000)
    assert asked > 20_000
    assert len("".join(written)) < 2 * LONGEST_CONVERSATION


async def test_the_loop_turns_while_the_built_in_model_reads():
    """What it computes before its first word is not done on the loop of all tasks."""
    sentences = " ".join(f"Sentence {n} is about signal {n % 97}." for n in range(20_000))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    pieces = BuiltinProvider().stream(ask("m", sentences))
    await anext(pieces)
    turning.cancel()
    await pieces.aclose()
    assert turns > 10
