from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_app.generation.reasoning import ReasoningCut

ANSWER = "Water them in the morning."


def shown(text: str, size: int) -> str:
    cut = ReasoningCut()
    pieces = [cut.feed(text[first : first + size]) for first in range(0, len(text), size)]
    return "".join([*pieces, cut.finish()])


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ANSWER, ANSWER),
        (f"  \n{ANSWER}", ANSWER),
        (f"<think>hm</think>{ANSWER}", ANSWER),
        (f"<think>\nhm\n</think>\n\n{ANSWER}", ANSWER),
        (f"<think>one</think>\n<reasoning>two</reasoning> {ANSWER}", ANSWER),
        (f"◁think▷hm◁/think▷{ANSWER}", ANSWER),
        (f"[THINK]hm[/THINK]{ANSWER}", ANSWER),
        (f"<think>{'long ' * 500}</think>{ANSWER}", ANSWER),
        ("<b>Bold</b> & <think> in the middle", "<b>Bold</b> & <think> in the middle"),
        ("[1] is a footnote", "[1] is a footnote"),
        ("<", "<"),
        ("[not a tag", "[not a tag"),
        ("<think>never ends", ""),
        ("<think></think>", ""),
        ("", ""),
    ],
)
def test_what_is_thought_at_the_beginning_is_not_shown(text: str, expected: str, size: int):
    assert shown(text, size) == expected


@given(st.text(st.sampled_from("<>/think[]THINK ◁▷a"), max_size=80), st.integers(1, 9))
def test_any_text_is_survived_and_nothing_is_added(text: str, size: int):
    assert len(shown(text, size)) <= len(text)
    if not any(mark in text for mark in "<[◁"):
        assert shown(text, size) == text.lstrip()
