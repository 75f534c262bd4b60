from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_app.generation.sse import LARGEST_EVENT_CHARS, OversizedEventError, SSEParser


def parse(*pieces: bytes) -> list[str]:
    parser = SSEParser()
    found = [event for piece in pieces for event in parser.feed(piece)]
    return found + parser.finish()


def test_takes_the_data_of_each_event_and_nothing_else():
    stream = b": comment\nevent: x\nid: 1\ndata: one\n\nretry: 5\n\ndata:two\ndata: lines\n\n"
    assert parse(stream) == ["one", "two\nlines"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard(end: bytes):
    assert parse(b"data: a" + end * 2 + b"data: b" + end * 2) == ["a", "b"]


def test_a_last_event_without_its_blank_line_counts():
    assert parse(b"data: a\n\ndata: b") == ["a", "b"]


def test_a_stream_without_events_has_none():
    assert parse() == parse(b": ping\n\n") == parse(b"\r\n\r\n") == []


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=5),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 400), max_size=30),
)
def test_where_the_bytes_are_cut_changes_nothing(texts: list[str], end: str, cuts: list[int]):
    events = [json.dumps(text, ensure_ascii=False) for text in texts]
    stream = "".join(f"data: {event}{end}{end}" for event in events).encode()
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert parse(*pieces) == events


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_an_event_without_an_end_is_refused(end: bytes):
    flood = [b"data: " + b"x" * 65_536 + end] * (LARGEST_EVENT_CHARS // 65_536 + 2)
    with pytest.raises(OversizedEventError):
        parse(*flood)
