# ruff: noqa: RUF001 - models write the punctuation of several scripts
"""What a model really wrote, without its reasoning and its wrapping: what the readers share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from tasks_app.generation.parsing_json import find_broken_values, find_values

LONGEST_OUTPUT = 200_000

_WORDS_OF_REASONING = (
    r"think|thinking|thought|thoughts|reasoning|reason|reflection|scratchpad|analysis"
    r"|(?:seed|mm|ant):think(?:ing)?"
)
_REASONING_TAG = re.compile(
    rf"<\|?(?P<closing>/?)\|?(?:{_WORDS_OF_REASONING})(?:\s[^<>]{{0,200}})?\|?>"
    r"|◁(?P<closing_2>/?)think▷"
    r"|\[(?P<closing_3>/?)THINK\]"
    r"|<\|(?:(?P<closing_4>end_of|END)|begin_of|START)_(?:thought|THINKING)\|>",
    re.IGNORECASE,
)
_CLOSING_GROUPS = ("closing", "closing_2", "closing_3", "closing_4")
_CHANNEL = re.compile(
    r"<\|channel\|>final(?:\s{0,3}<\|constrain\|>\w{0,20})?<\|message\|>", re.IGNORECASE
)
_SPECIAL = re.compile(
    r"<\|[a-z_]{2,30}\|>|</?s>|\[/?INST\]|<(?:end|start)_of_turn>|<eos>|<bos>"
    r"|</?(?:answer|output|response|result|final|final_answer|json)>",
    re.IGNORECASE,
)
_PAGE = re.compile(r"\s*(?:<!doctype\b|<html\b|<head\b|<body\b|<\?xml\b)", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\W*(?:i['’]?m (?:sorry|unable|afraid|not able)|i am (?:sorry|unable|not able)|as an ai\b"
    r"|i apologi[sz]e|(?:internal |server )?error:"
    r"|i (?:cannot|can not|can['’]t|won['’]t|do not|don['’]t) (?:help|assist|provide|generate"
    r"|create|do|comply|answer|give|fulfil|continue|discuss|have (?:enough|access))"
    r"|sorry\W+(?:but|i|we)\b|unfortunately\b|es tut mir leid|entschuldigung\b"
    r"|leider (?:kann|ist|habe)|ich kann (?:nicht|kein|dir|ihnen)|als ki\b|(?:je suis )?désolé\b"
    r"|je ne peux pas|lo siento\b|no puedo (?:ayudar|generar|responder|crear)|mi dispiace\b"
    r"|non posso (?:aiutar|generare|rispondere|creare)|(?:sinto muito|desculpe)\b|não posso\b"
    r"|извините|к сожалению|я не могу|простите|抱歉|对不起|很抱歉|我无法|申し訳|すみません"
    r"|(?:null|none|undefined|n/a|untitled|nan)\W*$)",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"\W*(?:(?:the|your|a|my) )?(?:concise |short |generated |new )*"
    r"(?:title|titel)(?: (?:here|goes here|text|string))?\W*$|\W*string\W*$|[\W_]*$"
    r"|\W*<[^<>]*>\W*$"
    r"|\W*(?:your |the )?(?:tag|query|question|follow[ -]?up|keyword|prompt|text|topic)"
    r"(?: question| query| phrase)? ?#?(?:\d{1,2}|[a-d]|here|n)\W*$",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^[^\S\n]*(?:```|~~~)[\w-]*[^\S\n]*$", re.MULTILINE)
_LEAD_IN = re.compile(r"[^\n]{0,160}[:：]\W{0,4}$")
_JOINERS = "\u200c\u200d"  # within emoji, and within words of Persian and Indic scripts
QUOTES = "\"'`*_“”„‚‘’«»「」『』《》 \t"


class Output:
    """A model's output, taken apart as far as its readers ask for it."""

    def __init__(self, raw: str) -> None:
        text = without_reasoning(raw[-LONGEST_OUTPUT:])
        # A page is what a proxy says when the model said nothing.
        self.text = "" if _PAGE.match(text) else text

    @cached_property
    def values(self) -> list[dict[str, Any] | list[Any]]:
        """The JSON in it, the last first: models repeat the prompt's example, then answer."""
        return list(find_values(self.text))[::-1]

    @cached_property
    def broken_values(self) -> list[dict[str, Any] | list[Any]]:
        """What looks like JSON in it, the last first."""
        return list(find_broken_values(self.text))[::-1]

    @cached_property
    def plain(self) -> list[str]:
        """Its lines, when it is plain text: not JSON or markup, and no refusal."""
        if self.text[:1] in "<{[" or any(isinstance(found, dict) for found in self.values):
            return []
        lines = [line.strip() for line in _FENCE.sub("", self.text).splitlines()]
        lines = [line for line in lines if line]
        if len(lines) > 1 and _LEAD_IN.match(lines[0]):
            lines.pop(0)
        if not lines or is_refusal(lines[0]):
            return []
        return lines


def without_reasoning(text: str) -> str:
    """Return the output without what the model thought aloud, and without control tokens."""
    final = list(_CHANNEL.finditer(text))
    if final:
        text = text[final[-1].end() :]
    text = _outside_reasoning(text)
    return _SPECIAL.sub("", text).strip()


def _outside_reasoning(text: str) -> str:
    kept: list[str] = []
    depth = position = 0
    for tag in _REASONING_TAG.finditer(text):
        if depth == 0:
            kept.append(text[position : tag.start()])
        if not any(tag[group] for group in _CLOSING_GROUPS):
            depth += 1
        elif depth:
            depth -= 1
        else:
            # Some servers send the opening tag with the prompt: only the closing one is seen.
            kept.clear()
        position = tag.end()
    return "".join(kept) + ("" if depth else text[position:])


def opening_tag_at_start(text: str) -> int:
    """Return the length of the tag that begins a reasoning block at the text's start, else 0."""
    tag = _REASONING_TAG.match(text)
    return tag.end() if tag and not any(tag[group] for group in _CLOSING_GROUPS) else 0


def closing_tag_end(text: str) -> int:
    """Return where the first tag that ends a reasoning block ends, -1 when there is none."""
    tags = _REASONING_TAG.finditer(text)
    return next((t.end() for t in tags if any(t[group] for group in _CLOSING_GROUPS)), -1)


def is_refusal(text: str) -> bool:
    """Tell whether the text begins as models do when they decline, or is a word for nothing."""
    return _REFUSAL.match(text) is not None


def is_placeholder(text: str) -> bool:
    """Tell whether the text only stands for what was asked for, as in the prompt's example."""
    return _PLACEHOLDER.match(text) is not None


def clean_line(text: Any, longest: int) -> str | None:
    """Return one line fit to be shown, without quotes around it, cut at a word.

    None for anything but text, and for a refusal or a placeholder.
    """
    if not isinstance(text, str):
        return None
    head = text[: 20 * longest]
    line = " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in head).split())
    line = line.lstrip("#" + QUOTES).rstrip(QUOTES).rstrip(",;").strip(QUOTES)
    if not line or is_placeholder(line) or is_refusal(line):
        return None
    return cut_at_word(line, longest)


def cut_at_word(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    cut = text[: longest - 1]
    return cut[: cut.rfind(" ") if " " in cut else len(cut)].rstrip() + "…"


def plain_name(key: Any) -> str:
    """Return a field's name without case, spaces, hyphens and underscores."""
    return "".join(c for c in str(key)[:60].lower() if c.isalnum())


def texts_at(found: Any, names: frozenset[str], depth: int = 0) -> Iterator[Any]:
    """Yield what objects hold under one of the names, also in objects inside of them."""
    if depth > 5:  # noqa: PLR2004 nobody wraps an answer more often
        return
    if isinstance(found, dict):
        yield from (value for name, value in found.items() if plain_name(name) in names)
        for value in found.values():
            if isinstance(value, dict):
                yield from texts_at(value, names, depth + 1)
    elif isinstance(found, list):
        for item in found:
            if isinstance(item, dict | list):
                yield from texts_at(item, names, depth + 1)
