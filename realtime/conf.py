"""The realtime layer's settings, read from Django's when they are used."""

from __future__ import annotations

from django.conf import settings


def save_debounce_seconds() -> float:
    return float(getattr(settings, "DOCUMENT_SAVE_DEBOUNCE_MS", 500)) / 1000


def save_max_wait_seconds() -> float:
    longest = float(getattr(settings, "DOCUMENT_SAVE_MAX_WAIT_MS", 5000)) / 1000
    return max(longest, save_debounce_seconds())


def document_max_bytes() -> int:
    return int(getattr(settings, "DOCUMENT_MAX_BYTES", 16 * 1024 * 1024))
