"""The smallest replacement that turns one text into another, in the bytes that Yjs' text counts."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

# Between the common beginning and end: up to so many lines are compared one by one.
MAX_LINES = 500


@dataclass(frozen=True, slots=True)
class Splice:
    """Replace the characters from `first` up to `beyond` (of the old text) by `text`."""

    first: int
    beyond: int
    text: str


def splices(old: str, new: str) -> list[Splice]:
    """Return replacements, last first, so that each leaves the positions of the next as they are.

    What both texts begin and end with is left alone; between, whole lines that both have are too,
    unless there are too many to compare.
    """
    first = _common(old, new)
    rest = min(len(old), len(new)) - first
    last = _common(old[::-1][:rest], new[::-1][:rest]) if rest else 0
    before, after = old[first : len(old) - last], new[first : len(new) - last]
    if before == after:
        return []
    lines, new_lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if min(len(lines), len(new_lines)) < 2 or max(len(lines), len(new_lines)) > MAX_LINES:  # noqa: PLR2004
        return [Splice(first, first + len(before), after)]
    return _by_lines(first, lines, new_lines)


def _by_lines(first: int, lines: list[str], new_lines: list[str]) -> list[Splice]:
    starts = [first]
    for line in lines:
        starts.append(starts[-1] + len(line))
    matcher = difflib.SequenceMatcher(None, lines, new_lines, autojunk=False)
    return [
        Splice(starts[a], starts[b], "".join(new_lines[c:d]))
        for tag, a, b, c, d in reversed(matcher.get_opcodes())
        if tag != "equal"
    ]


def _common(one: str, other: str) -> int:
    """Return how many characters both begin with, by halving: slices compare at C's speed."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
