"""Which way of asking for JSON each provider's models understand: learnt from their refusals."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from tasks_app.generation.errors import ProviderError

MOST_REMEMBERED = 1_000
# How a server says that it does not know a field, or a value of it.
_REFUSING_STATUSES = frozenset({400, 415, 422, 501})
_WORDS = ("response_format", "response format", "json_schema", "json_object", "json schema",
          "json mode", "structured output", "guided")  # fmt: skip

# What a provider's model is asked with: first the schema, then any JSON object, then nothing.
_SCHEMA, _OBJECT, _NOTHING = range(3)
_learnt: OrderedDict[tuple[str, str], int] = OrderedDict()


def with_format(body: dict[str, Any], provider: str, schema: dict[str, Any] | None) -> Any:
    """Return the request with the `response_format` that the model is thought to understand."""
    level = _learnt.get((provider, str(body.get("model"))), _SCHEMA)
    if schema is None or level == _NOTHING or "response_format" in body:
        return body
    if level == _OBJECT:
        return {**body, "response_format": {"type": "json_object"}}
    named = {"name": "answer", "strict": True, "schema": schema}
    return {**body, "response_format": {"type": "json_schema", "json_schema": named}}


def learn(error: ProviderError, provider: str, sent: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Remember that the format was refused, if it was; tells whether to ask again without it.

    `asked` is the request before `with_format`, `sent` the one after it: what a caller asked for
    is not taken away.
    """
    if sent is asked or error.status not in _REFUSING_STATUSES:
        return False
    if not any(word in str(error).lower() for word in _WORDS):
        return False
    key = (provider, str(asked.get("model")))
    is_schema = sent["response_format"]["type"] == "json_schema"
    _learnt[key] = _OBJECT if is_schema else _NOTHING
    _learnt.move_to_end(key)
    while len(_learnt) > MOST_REMEMBERED:
        _learnt.popitem(last=False)
    return True


def forget() -> None:
    """Begin again with the best."""
    _learnt.clear()
