"""JSON as the engine writes it: compact, real JSON only, always encodable as UTF-8."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def dumps(value: Any, *, default: Callable[[Any], Any] | None = None) -> str:
    """Return JSON text. Raises TypeError or ValueError for what JSON cannot hold (also NaN)."""
    if default is None:
        text = _encode(value)
    else:
        text = json.dumps(
            value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=default
        )
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: legal in a Python string, not in UTF-8
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=default)
    return text


def dumps_any(value: Any) -> str:
    """Return JSON text as Django's Tasks API has it: of any mapping or sequence, and UTF-8 bytes.

    Raises TypeError or ValueError for what cannot be brought to JSON.
    """
    return dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return dict(value)
        case bytes():
            return value.decode()
        case Sequence():
            return list(value)
    raise TypeError(f"Unsupported type: {type(value)}")


def readable(value: Any) -> str:
    """Return a JSON value in lines, for people; what UTF-8 cannot write is replaced."""
    return clean(json.dumps(value, ensure_ascii=False, indent=2))


def clean(text: str) -> str:
    """Return the text with lone surrogates replaced, so that it can be encoded."""
    return text.encode("utf-8", "replace").decode()
