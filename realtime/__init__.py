"""The realtime layer: its public names. Importing this needs no ready app registry."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime.documents.writing import edit_document as edit_document

_HOMES = {"edit_document": "realtime.documents.writing"}

__all__ = ["edit_document"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
