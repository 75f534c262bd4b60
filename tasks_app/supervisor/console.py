"""What `up` prints: every line with the process it came from, coloured only on a terminal."""

from __future__ import annotations

import os
import zlib
from typing import TextIO

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
MAX_LINE_BYTES = 16 * 1024


class Lines:
    """Cuts a stream of bytes into lines; one that has no end is cut by force."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        """Return the lines that `chunk` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        while len(self._rest) > MAX_LINE_BYTES:
            lines.append(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]
        return [_text(line) for line in lines]

    def end(self) -> list[str]:
        """Return the last line, if it had no line feed."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")


class Console:
    """Writes lines, each after the name of the process it came from."""

    def __init__(self, stream: TextIO, *, width: int = 8) -> None:
        self._stream = stream
        self._width = width
        self._coloured = stream.isatty() and not os.environ.get("NO_COLOR")
        self._gone = False

    def line(self, name: str, text: str) -> None:
        """Print one line of a process."""
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            colour = COLOURS[zlib.crc32(name.encode()) % len(COLOURS)]
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        self._write(f"{prefix} {text}\n")

    def say(self, text: str) -> None:
        """Print a line of our own."""
        self.line("up", text)

    def _write(self, text: str) -> None:
        if self._gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # nobody reads any more (a closed terminal or pipe): work goes on
            self._gone = True
