"""What is drawn on a terminal, and what a tail makes of events that a worker seldom sends."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tasks_app.api import Event
from tasks_app.management.tail import Tail
from tasks_app.terminal import bar, facts, safe, safe_text, shortened, table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(kind: str, data: Any) -> Event:
    return Event(id="1-0", type=kind, data=data)


def tailed(*events: Event, terminal: bool = False) -> tuple[str, str]:
    """Return what a tail writes to both streams."""
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    tail = Tail(out, err)
    for one in events:
        tail.show(one)
    tail.close()
    return out.getvalue(), err.getvalue()


def test_a_table_has_columns_as_wide_as_their_cells() -> None:
    assert table(["A", "LONG"], [["wide cell", ""], ["b", "c"]]) == [
        "A          LONG",
        "wide cell  -",
        "b          c",
    ]


def test_colour_does_not_move_columns() -> None:
    lines = table(["A", "B", "C"], [["1", "2", "3"]], lambda cell: f"<{cell}>")
    assert lines == ["A  B  C", "1  <2>  3"]


def test_facts_leave_out_what_is_not_known() -> None:
    assert facts([("a", "1"), ("long", ""), ("bcd", "2")]) == ["a    1", "bcd  2"]


@pytest.mark.parametrize(
    ("progress", "drawn"),
    [(0, "[----]   0 %"), (0.5, "[##--]  50 %"), (1, "[####] 100 %"), (7, "[####] 100 %")],
)
def test_a_bar(progress: float, drawn: str) -> None:
    assert bar(progress, width=4) == drawn


@pytest.mark.parametrize("control", ["\x1b", "\x9b", "\x07", "\r", "\x7f", "\u202e", "\u2066"])
def test_control_characters_are_shown_and_not_obeyed(control: str) -> None:
    assert safe(f"a{control}b") == safe_text(f"a{control}b") == "a\ufffdb"


def test_lines_stay_in_text_and_leave_a_cell() -> None:
    assert safe("a\nb\tc") == "a\ufffdb\ufffdc"
    assert safe_text("a\r\nb\tc") == "a\nb\tc"


def test_shortened() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"


def test_a_new_attempt_voids_what_was_printed() -> None:
    out, err = tailed(
        event("token", {"text": "old"}),
        event("restart", {"attempt": 2}),
        event("token", {"text": "new"}),
    )
    assert out == "oldnew"
    assert err == "attempt 2 begins; the output before it is void\n"


def test_a_snapshot_in_the_middle_is_announced() -> None:
    snapshot = event("snapshot", {"status": "running", "attempt": 1, "text": "abcd"})
    assert tailed(snapshot) == ("abcd", "")
    out, err = tailed(event("token", {"text": "ab"}), snapshot)
    assert out == "ababcd"
    assert "again from its beginning" in err


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        ("log", {"level": "warning", "message": "slow"}, "warning: slow\n"),
        ("log", "just text", 'log: "just text"\n'),
        ("step", {"n": [1]}, 'step: {"n": [1]}\n'),
        ("step", None, "step: null\n"),
    ],
)
def test_other_events_are_lines_beside_the_text(kind: str, data: Any, line: str) -> None:
    assert tailed(event(kind, data)) == ("", line)


def test_progress_is_drawn_on_a_terminal_only() -> None:
    half = event("progress", {"progress": 0.5, "message": "half-way"})
    assert tailed(half) == ("", "")
    assert "50 %  half-way" in tailed(half, terminal=True)[1]


def test_progress_does_not_break_a_line_of_text() -> None:
    half = event("progress", {"progress": 0.5, "message": ""})
    out, err = tailed(event("token", {"text": "word"}), half, terminal=True)
    assert out == "word\n"  # closed for the shell's prompt
    assert "%" not in err
