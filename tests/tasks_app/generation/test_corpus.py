"""The corpus of real-looking outputs: each is read as it should be, or is useless."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tasks_app.generation.kinds import KINDS, Subject

CORPUS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "outputs.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
FALLBACK = "fallback"  # as what is expected: nothing usable is in the output


def read(entry: dict) -> object:
    subject = Subject(prompt=entry.get("prompt", ""))
    found = KINDS[entry["kind"]].read(entry["output"], subject)
    return FALLBACK if found is None else found


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: f"{entry['kind']}-{entry['habit']}")
def test_the_answer_is_found_in_the_output_or_it_is_called_useless(entry: dict):
    assert read(entry) == entry["expected"]


def test_the_corpus_covers_every_kind_with_good_and_useless_outputs():
    assert len(CORPUS) >= 60
    useless = Counter(entry["kind"] for entry in CORPUS if entry["expected"] == FALLBACK)
    good = Counter(entry["kind"] for entry in CORPUS if entry["expected"] != FALLBACK)
    assert set(useless) == set(good) == set(KINDS)
    assert len({(entry["kind"], entry["habit"]) for entry in CORPUS}) == len(CORPUS)
