# ruff: noqa: RUF001 - models write the punctuation of several scripts
"""Finds each kind's answer in a model's output: a text, a list of texts, an emoji.

Every reader returns None when the output holds nothing usable, and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tasks_app.generation.emoji import first_emoji
from tasks_app.generation.parsing import (
    QUOTES,
    Output,
    clean_line,
    is_placeholder,
    is_refusal,
    plain_name,
    texts_at,
    without_reasoning,
)
from tasks_app.generation.parsing_json import unescaped

LONGEST_TITLE = 100
LONGEST_PLAIN_TITLE_WORDS = 14
LONGEST_IMAGE_PROMPT = 4_000
LONGEST_COMPLETION = 300
LONGEST_ANSWER = 200_000

_BULLET = re.compile(
    r"^\s{0,8}(?:[-*+•–◦▪]|\(?(?:\d{1,2}|[a-h])[.):]|[①-⑩]|Q\d{1,2}[.:])[^\S\n]{1,8}(?P<text>\S[^\n]*)",
    re.MULTILINE,
)
_NUMBERING = re.compile(
    r"^(?:[-*+•–]|\(?\d{1,2}[.):]|Q\d{1,2}[.:]|(?:question|query|frage|tag)\s?\d{1,2}\s?:)\s+",
    re.IGNORECASE,
)
_ITEM_TAG = re.compile(
    r"<(?:li|item|tag|query|question|follow_?up|topic|keyword)>(?P<text>[^<]{1,400})</",
    re.IGNORECASE,
)
_BETWEEN_TAGS = re.compile(r"[,;、，；·|\n]|\s#")
_BETWEEN_LINES = re.compile(r"\n")
_ELLIPSIS = re.compile(r"^\s*(?:…|\.\.\.)\s*|(?:…|\.\.\.)$")
_QUESTION_END = "?？؟;՞"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Under which names models hand an answer over."""

    fields: frozenset[str]
    field: re.Pattern[str]  # field = "text", without braces around it
    line: re.Pattern[str]  # Label: text
    tag: re.Pattern[str]  # <field>text</field>


def names(*fields: str, labels: str) -> Names:
    """Return the patterns for these fields; `labels` are what a line of plain text says first."""
    either = "|".join(re.escape(field) for field in fields)
    return Names(
        fields=frozenset(plain_name(field) for field in fields),
        field=re.compile(
            rf"[\"'“]?\b(?:{either})\b[\"'”]?\s*[:=]\s*[\"“](?P<text>(?:[^\"”\\\n]|\\.)+)",
            re.IGNORECASE,
        ),
        line=re.compile(
            rf"^\W{{0,8}}(?:{labels})\W{{0,4}}[:：]\W{{0,8}}(?P<text>.+)$",
            re.IGNORECASE | re.MULTILINE,
        ),
        tag=re.compile(rf"<(?:{either})>(?P<text>[^<]{{1,4000}})</", re.IGNORECASE),
    )


TITLE = names(
    "title", "chat_title", "conversation_title", "titel", "titre", "título", "titolo", "headline",
    "heading", "标题", "標題", "タイトル", "название", "заголовок",
    labels="(?:chat |conversation )?title|titel|titre|título|titolo|標題|标题|タイトル|заголовок",
)  # fmt: skip
IMAGE_PROMPT = names(
    "prompt", "image_prompt", "image", "description", "text", "bildbeschreibung",
    labels="(?:image |final |improved )?prompt|bild-?prompt|image description",
)  # fmt: skip
COMPLETION = names(
    "text", "completion", "continuation", "autocomplete", "suggestion",
    labels="text|completion|continuation",
)  # fmt: skip
FOLLOW_UPS = names(
    "follow_ups", "follow_up", "follow_up_questions", "followup_questions", "follow_up_prompts",
    "suggestions", "suggested_questions", "suggested_follow_ups", "suggested_prompts", "questions",
    "next_questions", "prompts", "fragen", "folgefragen", "rückfragen", "preguntas", "domande",
    "вопросы", "后续问题", "问题",
    labels="follow[- ]?ups?|questions",
)  # fmt: skip
TAGS = names(
    "tags", "tag", "topics", "keywords", "categories", "labels", "hashtags", "schlagwörter",
    "etiquetas", "étiquettes", "themen", "теги", "标签", "タグ",
    labels="tags?|topics|keywords|schlagwörter|etiquetas|étiquettes|теги|标签|タグ",
)  # fmt: skip
QUERIES = names(
    "queries", "query", "search_queries", "search_query", "searches", "search_terms",
    "suchanfragen", "consultas", "requêtes", "запросы", "questions", "查询",
    labels="search quer(?:y|ies)|quer(?:y|ies)|suchanfragen?|requêtes?|consultas?",
)  # fmt: skip


# --- one text -----------------------------------------------------------------------------------


def read_title(raw: str) -> str | None:
    """Return the title in a model's output: one line, at most LONGEST_TITLE characters."""
    return _first_text(raw, TITLE, _clean_title, _plain_title)


def _clean_title(found: Any) -> str | None:
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    title = clean_line(found, LONGEST_TITLE)
    return title.rstrip(".:").strip(QUOTES) or None if title else None


def _plain_title(output: Output) -> str | None:
    lines = output.plain
    if not lines or len(lines) > 3:  # noqa: PLR2004 who writes more explains something
        return None
    title = _clean_title(lines[0])
    return title if title and len(title.split()) <= LONGEST_PLAIN_TITLE_WORDS else None


def read_image_prompt(raw: str) -> str | None:
    """Return the description of a picture, at most LONGEST_IMAGE_PROMPT characters, one line."""
    return _first_text(raw, IMAGE_PROMPT, _clean_image_prompt, _plain_image_prompt)


def _clean_image_prompt(found: Any) -> str | None:
    return clean_line(found, LONGEST_IMAGE_PROMPT)


def _plain_image_prompt(output: Output) -> str | None:
    return _clean_image_prompt(" ".join(output.plain))


def read_completion(raw: str, begun: str = "") -> str | None:
    """Return what goes on after the text `begun`, on one line; "" is a good answer too."""
    output = Output(raw)
    for found in _texts(output, COMPLETION):
        if isinstance(found, str) and not is_placeholder(found.strip() or "-x"):
            return _continued(found, begun)
    if not output.plain:
        return None
    return _continued(_unquoted(output.plain[0]), begun)


def _continued(found: str, begun: str) -> str | None:
    text = found.split("\n\n", maxsplit=1)[0].replace("\n", " ").rstrip()
    if is_refusal(text):
        return None
    start = begun.rstrip()
    if start and text.lstrip().casefold().startswith(start.casefold()):
        # Models repeat what they are to go on from.
        text = text.lstrip()[len(start) :]
        text = text[1:] if begun != start and text[:1].isspace() else text
    text = _ELLIPSIS.sub("", text)
    return "".join(c for c in text if c.isprintable())[:LONGEST_COMPLETION]


def _unquoted(line: str) -> str:
    return line[1:-1] if len(line) > 1 and line[0] == line[-1] and line[0] in QUOTES else line


Clean = Callable[[Any], str | None]


def _first_text(
    raw: str, known: Names, clean: Clean, plain: Callable[[Output], str | None]
) -> str | None:
    output = Output(raw)
    for found in _texts(output, known):
        if text := clean(found):
            return text
    return plain(output)


def _texts(output: Output, known: Names) -> Iterator[Any]:
    """Yield what may be the answer, the surest first."""
    for found in output.values:
        yield from texts_at(found, known.fields)
    for found in output.broken_values:
        yield from texts_at(found, known.fields)
    for pattern in (known.field, known.tag):
        if match := pattern.search(output.text):
            yield unescaped(match["text"])
    if line := known.line.search("\n".join(output.plain)):
        yield line["text"]


# --- lists --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ListShape:
    """How many texts of what length make a good list, and how plain text is taken apart."""

    names: Names
    most: int
    longest: int
    most_words: int
    between: re.Pattern[str]
    plain: Callable[[list[str]], list[str]]


def _plain_tags(lines: list[str]) -> list[str]:
    if len(lines) == 1 and _BETWEEN_TAGS.search(lines[0]):
        return _BETWEEN_TAGS.split(lines[0])
    return lines if len(lines) > 1 and all(len(line) < 40 for line in lines) else []  # noqa: PLR2004


def _plain_questions(lines: list[str]) -> list[str]:
    return [line for line in lines if line.rstrip(QUOTES)[-1:] in _QUESTION_END]


def _plain_queries(lines: list[str]) -> list[str]:
    return lines if len(lines) <= 3 and all(len(line) <= 120 for line in lines) else []  # noqa: PLR2004


FOLLOW_UP_LIST = ListShape(
    names=FOLLOW_UPS, most=5, longest=300, most_words=60, between=_BETWEEN_LINES,
    plain=_plain_questions,
)  # fmt: skip
TAG_LIST = ListShape(
    names=TAGS, most=8, longest=40, most_words=5, between=_BETWEEN_TAGS, plain=_plain_tags
)
QUERY_LIST = ListShape(
    names=QUERIES, most=5, longest=300, most_words=40, between=_BETWEEN_LINES, plain=_plain_queries
)


def read_list(raw: str, shape: ListShape) -> list[str] | None:
    """Return the list in a model's output: its texts clean, each once, at least one."""
    output = Output(raw)
    for found in _lists(output, shape):
        if items := _clean_items(found, shape):
            return items
    return None


def read_follow_ups(raw: str) -> list[str] | None:
    return read_list(raw, FOLLOW_UP_LIST)


def read_tags(raw: str) -> list[str] | None:
    return read_list(raw, TAG_LIST)


def read_queries(raw: str) -> list[str] | None:
    return read_list(raw, QUERY_LIST)


def _lists(output: Output, shape: ListShape) -> Iterator[Iterable[Any]]:
    for values in (output.values, output.broken_values):
        # Objects one after another, each with one text of the list.
        row = [item for found in values[::-1] for item in _single(found, shape)]
        if len(row) > 1 and len(row) == len(values):
            yield row
        for found in values:
            for held in texts_at(found, shape.names.fields):
                yield _as_items(held, shape)
        for found in values:
            yield _loose_items(found)
        yield row
    yield [match["text"] for match in _ITEM_TAG.finditer(output.text)]
    if not output.plain:
        return
    plain = "\n".join(output.plain)
    if line := shape.names.line.search(plain):
        yield shape.between.split(line["text"])
    yield [match["text"] for match in _BULLET.finditer(plain)] or shape.plain(output.plain)


def _as_items(held: Any, shape: ListShape) -> Iterable[Any]:
    if isinstance(held, str):
        return shape.between.split(held)
    if isinstance(held, dict):
        return held.values()
    if isinstance(held, list) and len(held) == 1 and isinstance(held[0], str):
        return shape.between.split(held[0]) if shape is TAG_LIST else held
    return held if isinstance(held, list) else ()


def _loose_items(found: Any) -> Iterable[Any]:
    """Return the items of a list without a name, and of an object that only numbers them."""
    if isinstance(found, list):
        return found
    is_numbered = all(plain_name(name)[-1:].isdigit() for name in found)
    return list(found.values()) if is_numbered else ()


def _single(found: Any, shape: ListShape) -> Iterator[str]:
    if isinstance(found, dict):
        for held in texts_at(found, shape.names.fields | _ITEM_NAMES):
            if isinstance(held, str):
                yield held


_ITEM_NAMES = frozenset({"question", "text", "tag", "name", "query", "prompt", "followup", "value"})


def _clean_items(found: Iterable[Any], shape: ListShape) -> list[str]:
    items: dict[str, str] = {}
    for item in found:
        text = _clean_item(item, shape)
        if text is not None:
            items.setdefault(text.casefold(), text)
        if len(items) == shape.most:
            break
    return list(items.values())


def _clean_item(item: Any, shape: ListShape) -> str | None:
    if isinstance(item, dict):
        item = next(texts_at(item, shape.names.fields | _ITEM_NAMES), None)
    if not isinstance(item, str):
        return None
    text = _NUMBERING.sub("", item.strip())
    text = text.lstrip("#") if shape is TAG_LIST else text
    line = clean_line(text, 2 * shape.longest)
    if line is None or len(line) > shape.longest or len(line.split()) > shape.most_words:
        return None
    return line.rstrip(".") if shape is TAG_LIST else line


# --- plain answers ------------------------------------------------------------------------------


def read_emoji(raw: str) -> str | None:
    """Return the first emoji of the output; a refusal that holds one is a refusal."""
    output = Output(raw)
    return None if is_refusal(output.text) else first_emoji(output.text)


def read_answer(raw: str) -> str | None:
    """Return the text of the output without its reasoning; as it is, where it has none."""
    text = without_reasoning(raw[-LONGEST_ANSWER:])
    if not text:
        return None
    return raw if text == raw.strip() else text
