"""The realtime layer's settings, read from Django's when they are used."""

from __future__ import annotations

from django.conf import settings

from realtime.domain import limits


def session_timeout_seconds() -> float:
    return float(getattr(settings, "SESSION_TIMEOUT_SECONDS", 120.0))


def usage_timeout_seconds() -> float:
    return float(getattr(settings, "USAGE_TIMEOUT_SECONDS", 3.0))


def limit(name: str) -> int:
    """Return one of `limits.CONFIGURABLE`, as SIGNALBOX_LIMITS has it or by default."""
    configured: dict[str, int] = getattr(settings, "SIGNALBOX_LIMITS", {})
    return configured.get(name, limits.CONFIGURABLE[name])
