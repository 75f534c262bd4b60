"""Prints a task's output as it arrives: text to one stream, what else happens to another."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, TextIO

from tasks_app.api import Event
from tasks_app.domain.codec import dumps
from tasks_app.terminal import StatusLine, bar, safe, safe_text


class Tail:
    """Writes a task's text to `out`, as plain text, and updates to `err`, a line each.

    On a terminal the text cannot steer it, and progress is one line that is drawn over.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._line = StatusLine(err)
        self._shares_terminal = out.isatty() and err.isatty()
        self._is_at_line_start = True
        self._has_text = False

    def show(self, event: Event) -> None:
        match event.type:
            case "token":
                self._text(str(event.data["text"]))
            case "snapshot":
                if self._has_text:
                    self._note("Some output was missed; here it is again from its beginning.")
                self._text(str(event.data["text"]))
            case "progress":
                self._progress(event.data)
            case "restart":
                self._restart(event.data)
            case "update":
                self._note(f"{event.data['status']}, attempt {event.data['attempt']}")
            case "log" if isinstance(event.data, dict):
                self._note(f"{event.data.get('level', 'info')}: {event.data.get('message', '')}")
            case "end":
                pass
            case _:
                self._note(f"{event.type}: {json.dumps(event.data, ensure_ascii=False)}")

    def close(self) -> None:
        """Leave both streams at the start of a line, as the shell's prompt wants it."""
        self._line.clear()
        if not self._is_at_line_start and self._out.isatty():
            self._write("\n")

    def _text(self, text: str) -> None:
        if not text:
            return
        self._line.clear()
        self._write(safe_text(text) if self._out.isatty() else text)
        self._has_text = True

    def _write(self, text: str) -> None:
        # A reader that has stopped blocks this write and with it the loop: then Redis drops us,
        # and when the reader goes on, so do we, from the last event that was printed.
        self._out.write(text)
        self._out.flush()
        self._is_at_line_start = text.endswith("\n")

    def _restart(self, data: dict[str, Any]) -> None:
        void = "; the output before it is void" if self._has_text else ""
        self._note(f"attempt {data['attempt']} begins{void}")
        self._has_text = False

    def _progress(self, data: dict[str, Any]) -> None:
        # In the middle of a line of text there is no place for a bar on the same terminal.
        if self._shares_terminal and not self._is_at_line_start:
            return
        self._line.show(f"{bar(data['progress'])}  {data.get('message') or ''}")

    def _note(self, text: str) -> None:
        self._line.clear()
        if self._shares_terminal and not self._is_at_line_start:
            self._write("\n")
        self._err.write(f"{safe(text)}\n")
        self._err.flush()


class JsonTail:
    """Writes every event as one line of JSON: `{"id", "type", "data"}`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, event: Event) -> None:
        self._out.write(f"{dumps(asdict(event))}\n")
        self._out.flush()

    def close(self) -> None:
        pass


class Waiting:
    """Shows on a terminal how far a task is, in one line that is drawn over."""

    def __init__(self, err: TextIO) -> None:
        self._line = StatusLine(err)
        self._state = ""
        self._progress = ""

    def show(self, event: Event) -> None:
        match event.type:
            case "update" | "snapshot":
                self._state = f"{event.data['status']}, attempt {event.data['attempt']}"
            case "progress":
                self._progress = f"{bar(event.data['progress'])}  {event.data.get('message') or ''}"
            case "restart":
                self._progress = ""
            case _:
                return
        self._line.show(f"{self._state}  {self._progress}")

    def close(self) -> None:
        self._line.clear()
