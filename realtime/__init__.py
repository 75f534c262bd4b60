"""Signalbox' realtime layer: the public names. Importing this needs no ready app registry."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime.documents.writing import edit_document as edit_document
    from realtime.errors import CallFailed as CallFailed
    from realtime.errors import CallTimeout as CallTimeout
    from realtime.errors import SessionBusy as SessionBusy
    from realtime.errors import SessionNotFound as SessionNotFound
    from realtime.services.calls import call_user as call_user
    from realtime.services.notifications import notify_user as notify_user

_HOMES = {
    "CallFailed": "realtime.errors",
    "CallTimeout": "realtime.errors",
    "SessionBusy": "realtime.errors",
    "SessionNotFound": "realtime.errors",
    "call_user": "realtime.services.calls",
    "edit_document": "realtime.documents.writing",
    "notify_user": "realtime.services.notifications",
}

__all__ = [
    "CallFailed", "CallTimeout", "SessionBusy", "SessionNotFound", "call_user", "edit_document",
    "notify_user",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
