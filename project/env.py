"""Reads environment variables strictly: nonsense stops the start with a sentence."""

from __future__ import annotations

import os

from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def flag(name: str, *, default: bool = False) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value in TRUE | FALSE:
        return value in TRUE
    raise ImproperlyConfigured(f"{name}={value!r}: use one of 1/0, true/false, yes/no, on/off.")


def number(name: str, default: int, *, minimum: int = 0) -> int:
    value = text(name)
    if not value:
        return default
    try:
        parsed = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number.") from None
    if parsed < minimum:
        raise ImproperlyConfigured(f"{name}={parsed} is too small: at least {minimum}.")
    return parsed


def seconds(name: str, default: float, *, minimum: float = 0.0) -> float:
    value = text(name)
    if not value:
        return default
    try:
        parsed = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r} is not a number of seconds.") from None
    if not minimum <= parsed < float("inf"):
        raise ImproperlyConfigured(f"{name}={value!r} must be at least {minimum} seconds.")
    return parsed


def words(name: str, default: str = "", *, separator: str = ",") -> list[str]:
    return [word.strip() for word in text(name, default).split(separator) if word.strip()]
