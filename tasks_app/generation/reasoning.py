"""Keeps what a model thinks aloud at its beginning out of a text that is shown as it comes."""

from __future__ import annotations

from tasks_app.generation.parsing import (
    closing_tag_end,
    opening_tag_at_start,
    without_reasoning,
)

_LONGEST_TAG = 240  # so many characters are held back to see whether they are a tag
_MARKS = ("<", "◁", "[")


class ReasoningCut:
    """Takes a text in pieces; what it returns, put together, is the text without its reasoning."""

    def __init__(self) -> None:
        self._held = ""
        self._is_through = False
        self._is_thinking = False

    def feed(self, piece: str) -> str:
        """Return what can be shown now."""
        if self._is_through:
            return piece
        self._held += piece
        if not self._is_thinking:
            start = self._held.lstrip()
            if not start or (start[0] in _MARKS and not self._is_decided(start)):
                return ""
            if not self._is_thinking:
                return self._through(start)
        return self._thought()

    def finish(self) -> str:
        """Return what was held back and is no reasoning."""
        rest, self._held = self._held, ""
        return "" if self._is_through or self._is_thinking else without_reasoning(rest)

    def _is_decided(self, start: str) -> bool:
        self._is_thinking = opening_tag_at_start(start) > 0
        return self._is_thinking or len(start) > _LONGEST_TAG or any(c in start for c in ">▷]")

    def _thought(self) -> str:
        """Look for the end of the reasoning, in what is new and a tag's length before it."""
        closed = closing_tag_end(self._held)
        if closed < 0:
            self._held = self._held[-_LONGEST_TAG:]
            return ""
        rest, self._held, self._is_thinking = self._held[closed:], "", False
        return self.feed(rest)

    def _through(self, text: str) -> str:
        self._is_through, self._held = True, ""
        return text
