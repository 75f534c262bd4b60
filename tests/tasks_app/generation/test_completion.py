from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_app.generation.completion import (
    CompletionBuilder,
    add_usage,
    chunk,
    completion,
    event_chunk,
    has_output,
    plain_text,
    usage_chunk,
)


def build(*pieces: dict) -> dict:
    built = CompletionBuilder("t1", "m")
    for piece in pieces:
        built.add(piece)
    return built.result()


def piece(delta: object, reason: object = None, index: int = 0) -> dict:
    return {
        "created": 5,
        "choices": [{"index": index, "delta": delta, "finish_reason": reason}],
    }


def test_text_is_joined():
    made = build(piece({"role": "assistant"}), piece({"content": "a"}), piece({"content": "b"}))
    assert made == {
        "id": "chatcmpl-t1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab"},
                "finish_reason": "stop",
            }
        ],
        "usage": None,
    }


def test_finish_reason_and_usage_are_kept():
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    made = build(piece({"content": "a"}), piece({}, "length"), {"choices": [], "usage": usage})
    assert made["choices"][0]["finish_reason"] == "length"
    assert made["usage"] == usage


def test_tool_calls_are_put_together():
    made = build(
        piece({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}),
        piece({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
        piece({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
        piece({"tool_calls": [{"index": 1, "id": "d", "function": {"name": "g"}}]}, "tool_calls"),
    )
    message = made["choices"][0]["message"]
    assert message["content"] is None
    assert [call["id"] for call in message["tool_calls"]] == ["c", "d"]
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"a": 1}


def test_reasoning_has_one_name_and_is_not_content():
    made = build(
        piece({"reasoning": "hm"}), piece({"reasoning_content": "m"}), piece({"content": "x"})
    )
    assert made["choices"][0]["message"] == {
        "role": "assistant",
        "content": "x",
        "reasoning_content": "hmm",
    }


def test_several_choices_are_kept_apart():
    made = build(piece({"content": "a"}), piece({"content": "b"}, index=1), piece({"content": "c"}))
    assert [choice["message"]["content"] for choice in made["choices"]] == ["ac", "b"]


def test_half_a_surrogate_pair_can_be_written():
    build(piece({"content": "\ud83d"}))["choices"][0]["message"]["content"].encode()


def test_content_parts_are_text_and_images_are_named():
    parts = [{"type": "text", "text": "see "}, {"type": "image_url", "image_url": {}}, 7, "!"]
    assert plain_text(parts) == "see [image]!"
    assert plain_text(None) == ""


def test_has_output_sees_text_reasoning_refusal_and_tool_calls_only():
    for delta in ({"content": "a"}, {"reasoning": "a"}, {"refusal": "a"}, {"tool_calls": [{}]}):
        assert has_output(piece(delta))
    for delta in ({"role": "assistant", "content": ""}, {"content": None}, {}, None):
        assert not has_output(piece(delta))


def test_events_become_chunks_again():
    token = event_chunk("t1", "m", "token", {"text": "a"}, 5)
    assert token == chunk("t1", "m", {"content": "a"}, created=5)
    assert token["object"] == "chat.completion.chunk"
    delta = event_chunk("t1", "m", "delta", {"index": 1, "delta": {"refusal": "no"}}, 5)
    assert delta["choices"] == [{"index": 1, "delta": {"refusal": "no"}, "finish_reason": None}]
    assert event_chunk("t1", "m", "progress", {}, 5) is None
    assert usage_chunk("t1", "m", {"total_tokens": 1}, 5)["choices"] == []


def test_the_usage_of_two_calls_is_added():
    one = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "details": {"a": 1}}
    assert add_usage(None, one) == one == add_usage(one, None)
    assert add_usage(one, {**one, "cached": 1}) == {
        "prompt_tokens": 2,
        "completion_tokens": 4,
        "total_tokens": 6,
        "details": {"a": 1},
        "cached": 1,
    }


def test_a_whole_completion_of_one_text():
    made = completion("t1", "m", "text", 5)
    assert made["choices"][0]["message"]["content"] == "text"


ODD = st.sampled_from([None, True, 0, -1, 1.5, "", "x", [], ["x", 3], {}, {"index": "x"}])
DELTA = ODD | st.dictionaries(
    st.sampled_from(["content", "reasoning", "tool_calls", "refusal", "role"]),
    ODD | st.lists(st.dictionaries(st.sampled_from(["index", "id", "function"]), ODD), max_size=2),
    max_size=3,
)
CHOICE = ODD | st.dictionaries(st.sampled_from(["index", "delta", "finish_reason"]), DELTA)
PIECE = st.dictionaries(
    st.sampled_from(["choices", "usage", "created"]), ODD | st.lists(CHOICE, max_size=2)
)


@given(st.lists(PIECE, max_size=3))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_survived(pieces: list[dict]):
    json.dumps(build(*pieces))
