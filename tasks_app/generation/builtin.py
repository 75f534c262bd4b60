"""The built-in extractive model: answers with the conversation's own sentences, offline."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from itertools import islice
from typing import Any

from tasks_app.generation.builtin_kinds import ANSWERS
from tasks_app.generation.completion import plain_text
from tasks_app.generation.extract import keywords, ranked_sentences, sentences, shared_terms
from tasks_app.generation.guide import GUIDE, PHRASES
from tasks_app.generation.kinds import KINDS, Kind, Subject
from tasks_app.generation.providers import ModelInfo
from tasks_app.generation.stopwords import language_of

MODEL_ID = "signalbox-extractive"
OWNER = "signalbox"
DEFAULT_MAX_TOKENS = 256
LARGEST_MAX_TOKENS = 100_000
LONGEST_CONVERSATION = 60_000  # characters of it, the newest, that an answer is made of
MOST_RESPONSES = 20
_KIND_OF = {kind.task: kind for kind in KINDS.values()}
# A token is a word with the space after it, or two letters of a script without spaces.
_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{1,2}\s*|\S[^\s\u3040-\u9fff]*\s*|\s+"
)


class BuiltinProvider:
    """Serves every kind without a network: it extracts, it does not write.

    `pace` is the pause between two tokens of a chat answer, so that it can be watched and
    stopped; other kinds are answered at once.
    """

    name = "built-in"
    pace = 0.02

    async def models(self) -> list[ModelInfo]:
        return [ModelInfo(id=MODEL_ID, provider=self.name, type="local", owned_by=OWNER)]

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        is_kind = _metadata(body).get("task") in _KIND_OF
        limit = _max_tokens(body, LARGEST_MAX_TOKENS if is_kind else DEFAULT_MAX_TOKENS)
        # In a thread: this loop is that of all the worker's tasks.
        said, asked = await asyncio.to_thread(_written, body, limit)
        frame = {"object": "chat.completion.chunk", "created": int(time.time()), "model": MODEL_ID}
        sent = 0
        reason = "stop"
        yield frame | _choice({"role": "assistant", "content": ""})
        for token in said:
            if sent == limit:
                reason = "length"
                break
            # Without a pace too, others on the loop get their turn.
            await asyncio.sleep(0 if is_kind else self.pace)
            yield frame | _choice({"content": token})
            sent += 1
        yield frame | _choice({}, reason)
        usage = {"prompt_tokens": asked, "completion_tokens": sent, "total_tokens": asked + sent}
        yield frame | {"choices": [], "usage": usage}

    async def aclose(self) -> None:
        """Nothing is open."""


def _written(body: dict[str, Any], limit: int) -> tuple[list[str], int]:
    """Return the answer's tokens, one more than `limit` if it goes on, and the prompt's number."""
    messages = _messages(body)
    kind = _KIND_OF.get(str(_metadata(body).get("task")))
    parts = _answer(_newest(messages), limit) if kind is None else [_made(kind, body)]
    asked = sum(count_tokens(text) for _, text in messages)
    return list(islice(tokens(parts), limit + 1)), asked


def tokens(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        yield from _TOKEN.findall(part)


def count_tokens(text: str) -> int:
    return sum(1 for _ in _TOKEN.finditer(text))


def _answer(messages: list[tuple[str, str]], limit: int) -> Iterator[str]:
    """Yield the answer in whole sentences, as many as fit into `limit` tokens.

    First the sentences of the conversation that matter most, then, where there is room left,
    what the guide of this program says: never a sentence that nobody wrote.
    """
    question = next((text for role, text in reversed(messages) if role == "user"), "")
    phrases = PHRASES[language_of(question)]
    body = list(_body(messages, question, phrases))
    closing = "\n\n" + phrases["end"]
    room = limit - count_tokens(closing)
    used = 0
    for position, part in enumerate(body):
        used += count_tokens(part)
        if position and used > room:
            return
        yield part
    yield closing


def _body(messages: list[tuple[str, str]], question: str, phrases: dict[str, str]) -> Iterator[str]:
    yield phrases["intro"]
    # The model's own former answers are left out, or it would quote itself for ever.
    said = [text for _, text in messages if not text.startswith(_INTROS)]
    topics = keywords("\n".join(said), 6)
    if topics:
        yield f"\n\n{phrases['topics']} {', '.join(topics)}."
    found = ranked_sentences([sentence for text in said for sentence in sentences(text)], question)
    if found:
        yield f"\n\n{phrases['sentences']}\n"
        yield from (f"\n- {sentence}" for sentence in found)
    yield f"\n\n{phrases['guide']}\n"
    yield from (
        f"\n- {sentence}"
        for sentence in sorted(GUIDE, key=lambda said: -shared_terms(said, question))
    )


_INTROS = tuple(phrases["intro"] for phrases in PHRASES.values())


def _made(kind: Kind, body: dict[str, Any]) -> str:
    return kind.content(ANSWERS[kind.task](_subject(body)))


def _subject(body: dict[str, Any]) -> Subject:
    """Return what a kind is about: the prompt around it is for real models."""
    given = _metadata(body)
    listed = _oldest(_messages({"messages": given.get("messages")}) or _messages(body))
    responses = given.get("responses")
    return Subject(
        messages=[{"role": role, "content": text} for role, text in listed],
        prompt=str(given.get("prompt") or "")[-LONGEST_CONVERSATION:],
        type=str(given.get("type") or ""),
        responses=_within_room(responses if isinstance(responses, list) else []),
    )


def _within_room(responses: list[Any]) -> list[str]:
    room = LONGEST_CONVERSATION // max(1, min(len(responses), MOST_RESPONSES))
    return [str(text)[:room] for text in responses[:MOST_RESPONSES]] or [""]


def _messages(body: dict[str, Any]) -> list[tuple[str, str]]:
    listed = body.get("messages")
    return [
        (str(message.get("role", "user")), plain_text(message.get("content")))
        for message in (listed if isinstance(listed, list) else [])
        if isinstance(message, dict)
    ]


def _newest(messages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Keep the end of a conversation, as much of it as is read."""
    kept: list[tuple[str, str]] = []
    room = LONGEST_CONVERSATION
    for role, text in reversed(messages):
        if room <= 0:
            break
        kept.append((role, text[-room:]))
        room -= len(text)
    return kept[::-1]


def _oldest(messages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Keep the beginning of a conversation, which says what it is about."""
    kept: list[tuple[str, str]] = []
    room = LONGEST_CONVERSATION
    for role, text in messages:
        if room <= 0:
            break
        kept.append((role, text[:room]))
        room -= len(text)
    return kept


def _metadata(body: dict[str, Any]) -> dict[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _max_tokens(body: dict[str, Any], default: int) -> int:
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        return default
    return min(asked, LARGEST_MAX_TOKENS)


def _choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
