"""Finds the answer in what models really write: reasoning, fences, prose, broken JSON."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks_app.generation.completion import plain_text
from tasks_app.generation.extract import title_from

LONGEST_TITLE = 100
LONGEST_PLAIN_TITLE_WORDS = 14
LONGEST_OUTPUT = 200_000
MAX_OBJECTS = 50
DEFAULT_TITLE = "New chat"

_REASONING_TAG = re.compile(
    r"<\|?(?P<closing>/?)\|?(?:think|thinking|thought|thoughts|reasoning|reason|reflection"
    r"|scratchpad|analysis)(?:\s[^<>]{0,200})?\|?>",
    re.IGNORECASE,
)
_CHANNEL = re.compile(
    r"<\|channel\|>final(?:\s{0,3}<\|constrain\|>\w{0,20})?<\|message\|>", re.IGNORECASE
)
_SPECIAL = re.compile(r"<\|[a-z_]{2,30}\|>|</?s>|\[/?INST\]", re.IGNORECASE)
_FENCE = re.compile(r"^[^\S\n]*(?:```|~~~)[\w-]*[^\S\n]*$", re.MULTILINE)
_TITLE_FIELD = re.compile(
    r"[\"'“]?\btitle\b[\"'”]?\s*[:=]\s*[\"“](?P<text>(?:[^\"”\\\n]|\\.)+)", re.IGNORECASE
)
_TITLE_LINE = re.compile(
    r"^\W{0,8}(?:title|titel|titre|título|titolo|標題|标题|タイトル)\W{0,4}[:：]\W{0,8}(?P<text>.+)$",  # noqa: RUF001
    re.IGNORECASE | re.MULTILINE,
)
_REFUSAL = re.compile(
    r"\W*(?:i['’]?m (?:sorry|unable|afraid|not able)|as an ai\b|i apologi[sz]e|error:"  # noqa: RUF001
    r"|i (?:cannot|can not|can['’]t) (?:help|assist|provide|generate|create|do|comply|answer|give)"  # noqa: RUF001
    r"|sorry\W+(?:but|i|we)\b|unfortunately\b|es tut mir leid|entschuldigung\b"
    r"|leider (?:kann|ist|habe)|ich kann (?:nicht|kein|dir|ihnen)|(?:je suis )?désolé\b"
    r"|lo siento\b|mi dispiace\b|(?:null|none|undefined|n/a|untitled)\W*$)",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"\W*(?:(?:the|your|a|my) )?(?:concise |short |generated |new )*"
    r"(?:title|titel)(?: (?:here|goes here|text|string))?\W*$|\W*string\W*$|[\W_]*$",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(r"[^\n]{0,120}:\s*$")
_BRACE = re.compile(r"[{}]")
_TRAILING_COMMA = re.compile(r",\s*([}\]])")
_QUOTES = "\"'`*_#“”„‚‘’«»「」『』 \t"  # noqa: RUF001


def parse_title(output: str) -> str | None:
    """Return the title in a model's output, None when there is nothing usable in it."""
    text = without_reasoning(output[-LONGEST_OUTPUT:])
    objects = list(find_objects(text))
    # The last object counts: models repeat the example of the prompt before they answer.
    for found in reversed(objects):
        if title := _title_in(found):
            return title
    field = _TITLE_FIELD.search(text)
    if field and (title := clean_title(_unescaped(field["text"]))):
        return title
    return None if objects else _plain_title(_FENCE.sub("", text))


def fallback_title(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return a title made of the first telling user message, else of any, else a fixed one."""
    asked = [message for message in messages if message.get("role") == "user"]
    for message in [*asked, *messages]:
        if title := title_from(plain_text(message.get("content"))):
            return title
    return DEFAULT_TITLE


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
        if not tag["closing"]:
            depth += 1
        elif depth:
            depth -= 1
        else:
            # Some servers send the opening tag with the prompt: only the closing one is seen.
            kept.clear()
        position = tag.end()
    return "".join(kept) + ("" if depth else text[position:])


def find_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text, in order, also slightly broken or in Python's notation."""
    position, count = text.find("{"), 0
    closing = _closing_braces(text)
    while position >= 0 and count < MAX_OBJECTS:
        count += 1
        found, after = _object_at(text, position, closing.get(position))
        if found is not None:
            yield found
        position = text.find("{", after)


def clean_title(text: Any) -> str | None:
    """Return a title fit to be shown: one line, no quotes around it, not too long."""
    if not isinstance(text, str):
        return None
    title = " ".join("".join(c if c.isprintable() else " " for c in text[:2_000]).split())
    title = title.strip(_QUOTES).rstrip(".,;:").strip(_QUOTES)
    if not title or _PLACEHOLDER.match(title) or _REFUSAL.match(title):
        return None
    if len(title) <= LONGEST_TITLE:
        return title
    cut = title[: LONGEST_TITLE - 1]
    return cut[: cut.rfind(" ") if " " in cut else len(cut)].rstrip() + "…"


def _title_in(found: dict[str, Any]) -> str | None:
    for name, value in found.items():
        if str(name).strip().lower() == "title":
            return clean_title(value)
    # {"answer": {"title": …}} and the like.
    nested = (value for value in found.values() if isinstance(value, dict))
    return next((title for value in nested if (title := _title_in(value))), None)


def _plain_title(text: str) -> str | None:
    line = _TITLE_LINE.search(text)
    if line:
        return clean_title(line["text"])
    lines = [part.strip() for part in text.splitlines() if part.strip()]
    if len(lines) > 1 and _LEAD_IN.match(lines[0]):
        lines.pop(0)
    if not lines or lines[0][:1] in "<{[" or _REFUSAL.match(lines[0]):
        return None
    title = clean_title(lines[0])
    if title is None or len(title.split()) > LONGEST_PLAIN_TITLE_WORDS or len(lines) > 3:  # noqa: PLR2004
        return None
    return title


def _object_at(text: str, position: int, closing: int | None) -> tuple[dict[str, Any] | None, int]:
    """Return the object that begins at a brace, and where to look on."""
    try:
        found, after = _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError):
        if closing is None or closing - position > _LONGEST_REPAIRED:
            return None, position + 1
        found, after = _repaired(text[position : closing + 1]), closing + 1
    if isinstance(found, dict):
        return found, after
    return None, position + 1


# Not strict: models put real line breaks into texts.
_DECODER = json.JSONDecoder(strict=False)
_LONGEST_REPAIRED = 20_000


def _closing_braces(text: str) -> dict[int, int]:
    """Return where each brace that is closed is closed, found in one pass."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif opened:
            found[opened.pop()] = brace.start()
    return found


def _repaired(text: str) -> Any:
    text = _TRAILING_COMMA.sub(r"\1", text.replace("“", '"').replace("”", '"'))
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text.replace("\\", "")
