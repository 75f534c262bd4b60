"""What the environment says of the task configuration: first values, until somebody changes them.

django-constance keeps the changes; CONSTANCE_CONFIG is made here from the fields that the app
defines.
"""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from project import env
from tasks_app.generation.errors import InvalidOptions
from tasks_app.generation.options import OPTIONS, Option, checked

FORM_FIELD = "tasks_app.generation.form_fields.option_field"


def constance_config() -> dict[str, tuple[Any, str, str]]:
    """Return default, help and type of every field; raises ImproperlyConfigured for nonsense."""
    return {option.name: (_first(option), option.help, option.name) for option in OPTIONS.values()}


def constance_fields() -> dict[str, list[Any]]:
    """Return how django-constance makes the form field of every type: one type for each field."""
    return {name: [FORM_FIELD, {"name": name}] for name in OPTIONS}


def _first(option: Option) -> Any:
    text = env.text(option.name)
    if not text:
        return option.default
    try:
        return checked({option.name: _parsed(option, text)})[option.name]
    except InvalidOptions as error:
        raise ImproperlyConfigured(
            f"{option.name}={text[:200]!r}: {error.errors[option.name]}"
        ) from None


def _parsed(option: Option, text: str) -> Any:
    if option.type is bool:
        return env.flag(option.name)
    if option.type is str:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{option.name}={text[:200]!r} is not JSON: {error}.") from None
