# ruff: noqa: RUF001 - models write the quotes of several scripts
"""Finds JSON in a text: as it should be, and as models write it when they do not get it right.

Both readers go forward only: their cost is linear in the length of the text, whatever it holds.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

MOST_VALUES = 100  # attempts to read a value in one text
DEEPEST = 40
LONGEST_NUMBER = 30

_OPENING = re.compile(r"[{\[]")
# Not strict: models put real line breaks into texts.
_DECODER = json.JSONDecoder(strict=False)
# What may close a text that was opened by this quote; „ and « are closed by what they look like.
_CLOSING = {
    '"': '"”“„',
    "“": '”“"',
    "„": '“”"',
    "”": '”"',
    "«": "»",
    "'": "'’",
    "‘": "’'",
    "’": "’'",
    "`": "`'",
}
_QUOTE = re.compile(r"[\"“”„«»'‘’`\\]")
_GAP = re.compile(r"(?:[\s,;]++|//[^\n]*+|#[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z))*+")
_SPACE = re.compile(r"\s*+")
_KEY = re.compile(r"[^\s:=,{}\[\]\"“”„«»'‘’`]{1,60}")
_BARE = re.compile(r"[^,{}\[\]\n]{1,2000}")
_COLON = re.compile(r"\s*+(?::|=>|=)")
_WORDS = {"true": True, "false": False, "null": None, "none": None, "undefined": None}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "", "f": ""}
_AFTER_TEXT = ",:=}];"


def find_values(text: str) -> Iterator[dict[str, Any] | list[Any]]:
    """Yield the JSON objects and arrays in a text, in order; what is broken is passed over."""
    position = _next(text, 0)
    for _ in range(MOST_VALUES):
        if position < 0:
            return
        try:
            found, after = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            after = position + 1
        else:
            yield found
        position = _next(text, after)


def find_broken_values(text: str) -> Iterator[dict[str, Any] | list[Any]]:
    """Yield what looks like objects and arrays, read with as much good will as is left.

    Single, typographic or missing quotes, quotes inside of texts, trailing and missing commas,
    comments, Python's words, mixed up brackets, an end that was cut off.
    """
    for wording in _wordings(text):
        reader = _Reader(wording)
        position = _next(wording, 0)
        for _ in range(MOST_VALUES):
            if position < 0:
                break
            if found := reader.read(position):
                yield found
            position = _next(wording, max(reader.position, position + 1))


def _wordings(text: str) -> Iterator[str]:
    """Yield the text, and what it was before somebody escaped it once too often."""
    yield text
    if "&quot;" in text or "&#34;" in text:
        yield html.unescape(text)
    if '\\"' in text:
        yield text.replace("\\n", "\n").replace('\\"', '"')


def _next(text: str, position: int) -> int:
    match = _OPENING.search(text, position)
    return match.start() if match else -1


class _Reader:
    """Reads values from a position on, never going back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.is_cut = False  # the text ended within a value
        # From where on it is known that none of these quotes ends a text: looked for only once.
        self._endless: dict[str, int] = {}

    def read(self, position: int) -> Any:
        self.position = position
        return self.value(0)

    def value(self, depth: int) -> Any:
        self._skip(_SPACE)
        sign = self._here
        if sign in {"{", "["} and depth < DEEPEST:
            self.position += 1
            return self._object(depth) if sign == "{" else self._array(depth)
        if sign in _CLOSING:
            return self._quoted(sign)
        return self._bare()

    @property
    def _here(self) -> str:
        return self.text[self.position : self.position + 1]

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.position)
        if match is None:
            return False
        self.position = match.end()
        return True

    def _object(self, depth: int) -> dict[str, Any] | list[Any]:
        found: dict[str, Any] = {}
        loose: list[Any] = []  # a set, as Python writes it
        while True:
            self._skip(_GAP)
            sign = self._here
            if sign == "}":
                self.position += 1
                return found or loose
            if not sign or sign in "{[]":
                # The end of the text, of something around this, or no object at all.
                return found
            key = self._key()
            if key and self._skip(_COLON):
                found[key] = self.value(depth + 1)
            elif key and sign in _CLOSING:
                loose.append(key)

    def _key(self) -> str:
        if self._here in _CLOSING:
            return self._quoted(self._here).strip()
        match = _KEY.match(self.text, self.position)
        self.position = match.end() if match else self.position + 1
        return match[0] if match else ""

    def _array(self, depth: int) -> list[Any]:
        found: list[Any] = []
        while True:
            self._skip(_GAP)
            sign = self._here
            if sign == "]":
                self.position += 1
                return found
            if not sign or sign == "}":
                return found
            began = self.position
            item = self.value(depth + 1)
            self.position = max(self.position, began + 1)
            # Half a text is none, unless there is nothing else.
            if not (self.is_cut and isinstance(item, str) and found):
                found.append(item)

    def _quoted(self, opening: str) -> str:
        """Read a text; a quote ends it only where something follows that may follow a text."""
        start = self.position + 1
        end = self._end_of_text(start, _CLOSING[opening])
        if end >= 0:
            self.position = end + 1
            return unescaped(self.text[start:end])
        line_end = self.text.find("\n", start)
        self.is_cut = line_end < 0
        self.position = len(self.text) if line_end < 0 else line_end
        return unescaped(self.text[start : self.position].rstrip("\\ \t}],"))

    def _end_of_text(self, start: int, closing: str) -> int:
        if start >= self._endless.get(closing, len(self.text)):
            return -1
        position = start
        while match := _QUOTE.search(self.text, position):
            position = match.end()
            if match[0] == "\\":
                position += 1
            elif match[0] in closing and self._may_end(position):
                return match.start()
        self._endless[closing] = start
        return -1

    def _may_end(self, position: int) -> bool:
        after = _next_sign(self.text, position)
        sign = self.text[after : after + 1]
        if not sign or sign in _AFTER_TEXT or sign in _CLOSING:
            return True
        return "\n" in self.text[position:after] or self.text.startswith(("//", "/*", "#"), after)

    def _bare(self) -> Any:
        match = _BARE.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        word = match[0].split("//", 1)[0].strip()
        if word.lower() in _WORDS:
            return _WORDS[word.lower()]
        return _number(word)


def _next_sign(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _number(word: str) -> Any:
    if len(word) <= LONGEST_NUMBER:
        for kind in (int, float):
            try:
                return kind(word)
            except ValueError:
                continue
    return word


def unescaped(text: str) -> str:
    """Return a JSON text's content; escapes that JSON does not know stand for themselves."""
    if "\\" not in text:
        return text
    return _join_surrogates(_ESCAPE.sub(_escape, text))


def _escape(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return _ESCAPES.get(match[2], match[2])


def _join_surrogates(text: str) -> str:
    """Put the two halves of an escaped character together; a lone half becomes a question mark."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
