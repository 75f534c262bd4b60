"""Fills prompt templates in a single pass: substituted text is never scanned again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks_app.generation.completion import plain_text
from tasks_app.generation.errors import InputTooLong

# {{NAME}}, {{NAME:VERB:n}}, and for messages {{NAME:VERB:n|verb:n}}; all else stays as written.
_VARIABLE = re.compile(
    r"\{\{\s*(?P<name>[A-Za-z_]+)"
    r"(?::(?P<verb>[A-Za-z]+):(?P<count>\d{1,7}))?"
    r"(?:\|(?P<filter>[A-Za-z]+):(?P<filter_count>\d{1,7}))?\s*\}\}"
)
Cut = Callable[[str, int], str]

# Of a filled-in template: one that names a long conversation often would fill the memory.
LONGEST_PROMPT = 4_000_000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateValues:
    """What a template may name; `now` is an aware moment in the user's time zone."""

    now: datetime
    messages: Sequence[Mapping[str, Any]] = ()
    prompt: str = ""
    type: str = ""
    responses: Sequence[str] = ()
    user: Mapping[str, str] = field(default_factory=dict)


def render(template: str, values: TemplateValues) -> str:
    """Return the template with every known variable replaced; unknown ones stay as they are.

    Raises InputTooLong when that makes more than LONGEST_PROMPT characters.
    """
    size = len(template)

    def replacement(match: re.Match[str]) -> str:
        nonlocal size
        text = _replacement(match, values)
        size += len(text) - len(match[0])
        if size > LONGEST_PROMPT:
            raise InputTooLong(f"The prompt would be longer than {LONGEST_PROMPT} characters.")
        return text

    return _VARIABLE.sub(replacement, template)


def names_user(template: str) -> bool:
    """Tell whether the template says anything of the user, who has to be looked up for it."""
    return "{{" in template and "USER_" in template


def start(text: str, count: int) -> str:
    return text[:count]


def end(text: str, count: int) -> str:
    return text[-count:] if count else ""


def middle_truncate(text: str, count: int) -> str:
    """Keep `count` characters, half from the start and half from the end."""
    if len(text) <= count:
        return text
    head = (count + 1) // 2
    return f"{text[:head]}…{end(text, count - head)}"


_CUTS: dict[str, Cut] = {"start": start, "end": end, "middletruncate": middle_truncate}


def _replacement(match: re.Match[str], values: TemplateValues) -> str:
    name, verb, cut = match["name"], match["verb"], match["filter"]
    if name == "MESSAGES":
        return _messages(match, values.messages)
    if name == "prompt" and cut is None:
        return _cut(values.prompt, verb, match["count"], match)
    if verb is not None or cut is not None:
        return match[0]
    return _plain(name, values, match[0])


def _plain(name: str, values: TemplateValues, unknown: str) -> str:
    if name in {"USER_NAME", "USER_EMAIL", "USER_GROUPS"}:
        return values.user.get(name, "")
    read = _PLAIN.get(name)
    return unknown if read is None else read(values)


# Not strftime("%A"), which follows the locale of the machine.
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_PLAIN: dict[str, Callable[[TemplateValues], str]] = {
    "TYPE": lambda values: values.type,
    "responses": lambda values: "\n\n".join(values.responses),
    "CURRENT_DATE": lambda values: values.now.strftime("%Y-%m-%d"),
    "CURRENT_TIME": lambda values: values.now.strftime("%H:%M:%S"),
    "CURRENT_DATETIME": lambda values: values.now.strftime("%Y-%m-%d %H:%M:%S"),
    "CURRENT_WEEKDAY": lambda values: _WEEKDAYS[values.now.weekday()],
}


def _cut(text: str, verb: str | None, count: str | None, match: re.Match[str]) -> str:
    if verb is None or count is None:
        return text
    cut = _CUTS.get(verb.lower())
    return match[0] if cut is None else cut(text, int(count))


def _messages(match: re.Match[str], messages: Sequence[Mapping[str, Any]]) -> str:
    verb, cut = match["verb"], match["filter"]
    chosen: Sequence[Mapping[str, Any]] = messages
    if verb is not None:
        select = _SELECTIONS.get(verb.lower())
        if select is None:
            return match[0]
        chosen = select(messages, int(match["count"]))
    if cut is not None and cut.lower() not in _CUTS:
        return match[0]
    return "\n".join(_line(message, cut, match["filter_count"]) for message in chosen)


def _line(message: Mapping[str, Any], cut: str | None, count: str | None) -> str:
    text = plain_text(message.get("content"))
    if cut is not None and count is not None:
        text = _CUTS[cut.lower()](text, int(count))
    return f"{str(message.get('role') or 'user').upper()}: {text}"


Selection = Callable[[Sequence[Mapping[str, Any]], int], Sequence[Mapping[str, Any]]]


def _middle_messages(
    messages: Sequence[Mapping[str, Any]], count: int
) -> Sequence[Mapping[str, Any]]:
    if len(messages) <= count:
        return messages
    head = (count + 1) // 2
    tail = count - head
    return [*messages[:head], *(messages[-tail:] if tail else ())]


_SELECTIONS: dict[str, Selection] = {
    "start": lambda messages, count: messages[:count],
    "end": lambda messages, count: messages[-count:] if count else (),
    "middletruncate": _middle_messages,
}
