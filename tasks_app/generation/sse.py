"""Server-sent events out of bytes that may be cut anywhere."""

from __future__ import annotations

import codecs
import re

LARGEST_EVENT_CHARS = 4 * 1024 * 1024
_LINE_END = re.compile(r"\r\n|\n|\r")


class OversizedEventError(ValueError):
    """One event of the stream is larger than anything a provider sends in earnest."""


class SSEParser:
    """Collects bytes and returns the data of each event that they complete.

    Comments and fields other than `data` are dropped; CR, LF and CRLF end a line; a character
    that is cut between two pieces is put together again.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest: list[str] = []  # pieces of a line that has not ended
        self._rest_size = 0
        self._held = ""  # a CR at the end of a piece
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[str]:
        return self._take(self._decoder.decode(piece), final=False)

    def finish(self) -> list[str]:
        """Return what the end of the stream completes: a last event without its blank line."""
        events = self._take(self._decoder.decode(b"", final=True), final=True)
        return events + self._dispatch()

    def _take(self, text: str, *, final: bool) -> list[str]:
        text, self._held = self._held + text, ""
        if not final and text.endswith("\r"):
            # The LF that belongs to it may come with the next piece.
            text, self._held = text[:-1], "\r"
        # Only what is new is looked at: a long line may come in thousands of pieces.
        first, *others = _LINE_END.split(text)
        self._rest.append(first)
        self._rest_size += len(first)
        if others or final:
            lines = ["".join(self._rest), *others]
            rest = "" if final else lines.pop()
            self._rest, self._rest_size = [rest], len(rest)
        else:
            lines = []
        if self._size + self._rest_size > LARGEST_EVENT_CHARS:
            raise OversizedEventError
        return [event for line in lines for event in self._line(line)]

    def _line(self, line: str) -> list[str]:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
            self._size += len(value)
            if self._size > LARGEST_EVENT_CHARS:
                raise OversizedEventError
        return []

    def _dispatch(self) -> list[str]:
        events = ["\n".join(self._data)] if self._data else []
        self._data, self._size = [], 0
        return events
