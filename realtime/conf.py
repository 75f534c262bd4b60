"""The realtime layer's settings, read from Django's when they are used."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from realtime.domain import limits

DEFAULT_ROOM_ACCESS = "realtime.access.public_rooms"


def session_timeout_seconds() -> float:
    return float(getattr(settings, "SESSION_TIMEOUT_SECONDS", 120.0))


def usage_timeout_seconds() -> float:
    return float(getattr(settings, "USAGE_TIMEOUT_SECONDS", 3.0))


def configured_limits() -> Any:
    return getattr(settings, "SIGNALBOX_LIMITS", {})


def limit(name: str) -> int:
    """Return one of `limits.CONFIGURABLE`, as SIGNALBOX_LIMITS has it or by default."""
    configured: dict[str, int] = configured_limits()
    return configured.get(name, limits.CONFIGURABLE[name])


def room_access_path() -> Any:
    return getattr(settings, "SIGNALBOX_ROOM_ACCESS", DEFAULT_ROOM_ACCESS)


def room_access() -> Any:
    """Return the function of user and room that says who may enter; raises ImportError."""
    return import_string(room_access_path())


def save_debounce_seconds() -> float:
    return float(getattr(settings, "DOCUMENT_SAVE_DEBOUNCE_MS", 500)) / 1000


def save_max_wait_seconds() -> float:
    longest = float(getattr(settings, "DOCUMENT_SAVE_MAX_WAIT_MS", 5000)) / 1000
    return max(longest, save_debounce_seconds())


def document_max_bytes() -> int:
    return int(getattr(settings, "DOCUMENT_MAX_BYTES", 16 * 1024 * 1024))
