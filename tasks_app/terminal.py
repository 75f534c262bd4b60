"""What the commands draw on a terminal: tables, lists of facts, a progress bar, harmless text."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from typing import TextIO

BAR_WIDTH = 24
# Names, items and output come from users and models: without this they could move the cursor,
# rename the window or hide text; half a surrogate pair cannot be written at all. Tabs and line ends
# may pass where text is printed as it is.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROLS_IN_TEXT = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def safe(text: str) -> str:
    """Return the text on one line, with every control character shown as a replacement sign."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def safe_text(text: str) -> str:
    """Return the text with its lines and tabs, but nothing else that a terminal obeys."""
    return _CONTROLS_IN_TEXT.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    paint: Callable[[str], str] | None = None,
) -> list[str]:
    """Return the lines of a table whose columns are as wide as their widest cell.

    `paint` colours the second column, after it got its width.
    """
    cells = [[safe(cell) or "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [_line(heads, widths)]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if paint is not None:
            padded[1] = paint(padded[1])
        lines.append("  ".join(padded).rstrip())
    return lines


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return one line per fact that is known, its values in one column."""
    known = [(name, safe(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in known), default=0)
    return [f"{name.ljust(width)}  {value}" for name, value in known]


def bar(progress: float, width: int = BAR_WIDTH) -> str:
    """Return e.g. "[######------------------]  25 %"."""
    progress = min(1.0, max(0.0, progress))
    filled = int(progress * width)
    return f"[{'#' * filled}{'-' * (width - filled)}] {progress:4.0%}".replace("%", " %")


class StatusLine:
    """One line at the bottom of a terminal that is drawn over; draws nothing into a file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._is_shown = False

    def show(self, text: str) -> None:
        if not self._is_terminal:
            return
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[K{shortened(safe(text), width)}")
        self._stream.flush()
        self._is_shown = True

    def clear(self) -> None:
        if self._is_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._is_shown = False
