"""Puts streamed chunks together to a `chat.completion`, and takes events apart to chunks again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Token events carry the text of the first choice; delta events whatever else a chunk holds.
TEXT_KEYS = ("content", "reasoning_content", "refusal")


def completion_id(task_id: str) -> str:
    return f"chatcmpl-{task_id}"


def completion(
    task_id: str, model: str, content: str, created: int, *, usage: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return a whole `chat.completion` of one finished text."""
    return {
        "id": completion_id(task_id),
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "finish_reason": "stop",
            }
        ],
        "usage": usage,
    }


def chunk(
    task_id: str,
    model: str,
    delta: dict[str, Any],
    finish_reason: str | None = None,
    created: int = 0,
) -> dict[str, Any]:
    """Return one `chat.completion.chunk` of the first choice."""
    return {
        "id": completion_id(task_id),
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def event_chunk(
    task_id: str, model: str, event_type: str, data: dict[str, Any], created: int
) -> dict[str, Any] | None:
    """Return the chunk that a `token` or `delta` event stands for, None for other events."""
    if event_type == "token":
        return chunk(task_id, model, {"content": data.get("text", "")}, created=created)
    if event_type == "delta":
        made = chunk(task_id, model, data.get("delta", {}), created=created)
        made["choices"][0]["index"] = data.get("index", 0)
        return made
    return None


def usage_chunk(
    task_id: str, model: str, usage: dict[str, Any] | None, created: int
) -> dict[str, Any]:
    """Return the last chunk that `stream_options.include_usage` asks for; None: not counted."""
    made = chunk(task_id, model, {}, created=created)
    return made | {"choices": [], "usage": usage}


def add_usage(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the usage of two calls together; details that only one of them has are kept."""
    if one is None or other is None:
        return one or other
    counted = {
        name: value + other[name]
        for name, value in one.items()
        if isinstance(value, int) and isinstance(other.get(name), int)
    }
    return {**one, **other, **counted}


def choices(piece: dict[str, Any]) -> list[tuple[int, dict[str, Any], str | None]]:
    """Return (index, delta, finish_reason) of each choice; tolerant of missing and odd fields."""
    found = []
    for position, choice in enumerate(_list(piece.get("choices"))):
        if not isinstance(choice, dict):
            continue
        index = choice.get("index")
        delta = choice.get("delta") or choice.get("message") or {}
        reason = choice.get("finish_reason")
        found.append(
            (
                index if isinstance(index, int) else position,
                _normalized(delta) if isinstance(delta, dict) else {},
                reason if isinstance(reason, str) and reason else None,
            )
        )
    return found


def has_output(piece: dict[str, Any]) -> bool:
    """Tell whether a chunk holds anything of the answer itself: text or a tool call."""
    return any(
        delta.get("tool_calls") or any(delta.get(key) for key in TEXT_KEYS)
        for _, delta, _ in choices(piece)
    )


def text_piece(piece: dict[str, Any], change: Callable[[str], str]) -> tuple[dict[str, Any], str]:
    """Return the chunk with the first choice's text changed, and that text."""
    made, texts = [], []
    for index, delta, reason in choices(piece):
        changed = dict(delta)
        if index == 0 and (content := delta.get("content")):
            changed["content"] = change(content)
            texts.append(changed["content"])
        made.append({"index": index, "delta": changed, "finish_reason": reason})
    return {**piece, "choices": made}, "".join(texts)


class CompletionBuilder:
    """Collects the chunks of one answer; `result()` is the whole `chat.completion`."""

    def __init__(self, task_id: str, model: str) -> None:
        self.task_id = task_id
        self.model = model
        self.created = 0
        self.usage: dict[str, Any] | None = None
        self._choices: dict[int, _Choice] = {}

    def add(self, piece: dict[str, Any]) -> None:
        created = piece.get("created")
        if isinstance(created, int | float) and not self.created:
            self.created = int(created)
        if isinstance(piece.get("usage"), dict):
            self.usage = piece["usage"]
        for index, delta, reason in choices(piece):
            self._choices.setdefault(index, _Choice()).add(delta, reason)

    @property
    def text(self) -> str:
        """The text of the first choice so far."""
        first = self._choices.get(0)
        return "".join(first.texts["content"]) if first else ""

    @property
    def is_empty(self) -> bool:
        """True when no choice holds text, reasoning, a refusal or a tool call."""
        return all(choice.is_empty for choice in self._choices.values())

    def result(self) -> dict[str, Any]:
        return {
            "id": completion_id(self.task_id),
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [
                {
                    "index": index,
                    "message": choice.message(),
                    "finish_reason": choice.finish_reason or "stop",
                }
                for index, choice in sorted(self._choices.items())
            ],
            "usage": self.usage,
        }


class _Choice:
    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {key: [] for key in TEXT_KEYS}
        self.tool_calls: dict[int, dict[str, Any]] = {}
        self.finish_reason: str | None = None

    @property
    def is_empty(self) -> bool:
        return not self.tool_calls and not any(self.texts.values())

    def add(self, delta: dict[str, Any], reason: str | None) -> None:
        for key in TEXT_KEYS:
            if delta.get(key):
                self.texts[key].append(delta[key])
        for position, call in enumerate(delta.get("tool_calls", [])):
            self._add_call(call, position)
        self.finish_reason = reason or self.finish_reason

    def _add_call(self, call: dict[str, Any], position: int) -> None:
        index = call.get("index")
        place = index if isinstance(index, int) else position
        held = self.tool_calls.setdefault(
            place, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        # The id and the name come once and whole, the arguments piece by piece.
        held["id"] = call.get("id") or held["id"]
        function = call.get("function")
        if isinstance(function, dict):
            held["function"]["name"] = function.get("name") or held["function"]["name"]
            held["function"]["arguments"] += str(function.get("arguments") or "")

    def message(self) -> dict[str, Any]:
        content = "".join(self.texts["content"])
        made: dict[str, Any] = {
            "role": "assistant",
            "content": content if content or not self.tool_calls else None,
        }
        for key in ("reasoning_content", "refusal"):
            if self.texts[key]:
                made[key] = "".join(self.texts[key])
        if self.tool_calls:
            made["tool_calls"] = [call for _, call in sorted(self.tool_calls.items())]
        return made


def _normalized(delta: dict[str, Any]) -> dict[str, Any]:
    """Bring the dialects of providers to one shape: text is text, reasoning has one name."""
    made: dict[str, Any] = {}
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    for key, value in (
        ("content", delta.get("content")),
        ("reasoning_content", reasoning),
        ("refusal", delta.get("refusal")),
    ):
        if text := plain_text(value):
            made[key] = writable(text)
    calls = [call for call in _list(delta.get("tool_calls")) if isinstance(call, dict)]
    if calls:
        made["tool_calls"] = calls
    return made


def writable(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON may hold and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def plain_text(content: Any) -> str:
    """Return the text of a message's content: a text, or a list of parts (images are named)."""
    if isinstance(content, str):
        return content
    return "".join(_part_text(part) for part in _list(content))


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return ""
    text = part.get("text")
    if isinstance(text, str):
        return text
    return "[image]" if "image" in str(part.get("type", "")) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
