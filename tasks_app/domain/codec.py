"""JSON as the engine writes it: compact, real JSON only, always encodable as UTF-8."""

from __future__ import annotations

import json
from typing import Any


def dumps(value: Any) -> str:
    """Return JSON text. Raises TypeError or ValueError for what JSON cannot hold (also NaN)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: legal in a Python string, not in UTF-8
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text


def readable(value: Any) -> str:
    """Return a JSON value in lines, for people; what UTF-8 cannot write is replaced."""
    return clean(json.dumps(value, ensure_ascii=False, indent=2))


def clean(text: str) -> str:
    """Return the text with lone surrogates replaced, so that it can be encoded."""
    return text.encode("utf-8", "replace").decode()
