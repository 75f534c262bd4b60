"""Lines of the children, each with its name."""

from __future__ import annotations

import io

import pytest

from tasks_app.supervisor.console import MAX_LINE_BYTES, Console, Lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_every_line_has_its_process() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.line("web", "hello")
    console.say("ready")
    assert stream.getvalue() == "web      | hello\nup       | ready\n"


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = Terminal()
    Console(coloured).line("web", "hello")
    assert "\x1b[" in coloured.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Console(plain).line("web", "hello")
    assert "\x1b[" not in plain.getvalue()


def test_a_reader_that_has_gone_is_no_error() -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    console = Console(Closed())
    console.say("one")
    console.say("two")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_the_same_however_they_arrive(size: int) -> None:
    whole = "eins\nzwei ä\n\nlast".encode()
    lines, found = Lines(), []
    for start in range(0, len(whole), size):
        found += lines.feed(whole[start : start + size])
    assert [*found, *lines.end()] == ["eins", "zwei ä", "", "last"]
    assert lines.end() == []


def test_a_line_without_an_end_is_cut() -> None:
    lines = Lines()
    found = lines.feed(b"x" * (3 * MAX_LINE_BYTES + 5))
    assert [len(line) for line in found] == [MAX_LINE_BYTES] * 3
    assert lines.end() == ["xxxxx"]
