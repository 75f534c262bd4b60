"""The types of an ASGI connection, and reading its headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def headers(scope: Scope, name: bytes) -> list[str]:
    """Return every value of a header, in order; `name` in lower case."""
    found: list[tuple[bytes, bytes]] = scope.get("headers", [])
    return [value.decode("latin-1").strip() for key, value in found if key.lower() == name]
