"""Parsing and building the frames of `/ws/`, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.domain import messages, server_frames
from realtime.domain.messages import FrameError, TaskStop, TaskSubscribe, UserJoin

CODES = {"bad_frame", "unknown_type", "invalid"}


def frame(kind: str, **data: Any) -> str:
    return json.dumps({"type": kind, "data": data, "ack": 3})


def test_parses_each_frame_into_its_type() -> None:
    for kind, model in messages.FRAMES.items():
        fields = {"task_id": "a", "room": "r", "event": "e", "call_id": "c", "model": "m"}
        incoming = messages.parse(frame(kind, auth={"token": "t"}, **fields))
        assert type(incoming.frame) is model
        assert incoming.ack == 3


def test_ignores_unknown_fields() -> None:
    incoming = messages.parse(frame("task:stop", task_id="a", user_id="7", viewer={}))
    assert incoming.frame == TaskStop(task_id="a")


def test_data_may_be_absent_or_null() -> None:
    assert messages.parse('{"type": "user-join"}').frame == UserJoin()
    assert messages.parse('{"type": "user-join", "data": null}').frame == UserJoin()


def test_last_event_id_may_be_null() -> None:
    incoming = messages.parse(frame("task:subscribe", task_id="a", last_event_id=None))
    assert incoming.frame == TaskSubscribe(task_id="a")


def test_a_token_is_not_shown_by_repr() -> None:
    incoming = messages.parse(frame("user-join", auth={"token": "secret"}))
    assert "secret" not in repr(incoming)


def test_before_sign_in_only_user_join_is_read() -> None:
    assert messages.parse(frame("user-join"), is_signed_in=False).frame == UserJoin()
    with pytest.raises(FrameError) as refused:
        messages.parse(frame("task:stop"), is_signed_in=False)
    assert (refused.value.code, refused.value.ack) == ("not_signed_in", 3)


def test_a_refusal_names_the_field_but_not_the_value() -> None:
    with pytest.raises(FrameError) as refused:
        messages.parse(frame("user-join", auth={"token": ["hunter2"]}))
    assert "data.auth.token" in refused.value.detail
    assert "hunter2" not in refused.value.detail


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_whatever_comes_is_refused_with_a_code(text: str) -> None:
    with pytest.raises(FrameError) as refused:
        messages.parse(text)
    assert refused.value.code in CODES


@given(
    st.sampled_from(sorted(messages.FRAMES)),
    st.dictionaries(
        st.sampled_from(
            ["task_id", "item_id", "last_event_id", "auth", "room", "event", "data", "call_id"]
        ),
        st.none() | st.booleans() | st.text() | st.integers() | st.just({"token": "t"}),
    ),
)
def test_data_is_taken_or_invalid(kind: str, data: dict[str, Any]) -> None:
    code = "taken"
    try:
        messages.parse(json.dumps({"type": kind, "data": data}))
    except FrameError as error:
        code = error.code
    assert code in {"taken", "invalid"}


@given(st.text(st.characters(), min_size=1))
def test_what_is_built_is_valid_utf8_and_reads_back(text: str) -> None:
    built = messages.encode("task:event", {"text": text}, 1)
    assert json.loads(built.encode()) == {"type": "task:event", "ack": 1, "data": {"text": text}}


def test_a_lone_surrogate_is_escaped() -> None:
    built = messages.encode("task:event", {"text": "ä\ud800"})
    built.encode()
    assert json.loads(built)["data"]["text"] == "ä\ud800"


def test_text_beyond_ascii_is_not_escaped() -> None:
    assert "größer" in messages.encode("task:event", {"text": "größer"})


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_what_json_cannot_write_is_a_value_error(number: str) -> None:
    envelope = f'{{"type": "room:send", "data": {{"room": "r", "event": "e", "data": {number}}}}}'
    incoming = messages.parse(envelope).frame
    assert isinstance(incoming, messages.RoomSend)
    with pytest.raises(ValueError, match="JSON"):
        messages.encode("room:event", {"data": incoming.data})


def test_nesting_that_can_be_read_but_not_written_is_a_value_error() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(ValueError, match="deeply"):
        messages.encode("room:event", deep)


def test_each_frame_of_the_server_has_one_schema() -> None:
    for kind, model in server_frames.FRAMES.items():
        assert model.__doc__, kind
    assert len(set(server_frames.FRAMES.values())) == len(server_frames.FRAMES)
    assert len(set(messages.FRAMES.values())) == len(messages.FRAMES)
