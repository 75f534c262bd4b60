"""The realtime layer's settings, read from Django's when they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

DEFAULT_ROOM_ACCESS = "realtime.access.public_rooms"


def room_access_path() -> Any:
    return getattr(settings, "SIGNALBOX_ROOM_ACCESS", DEFAULT_ROOM_ACCESS)


def room_access() -> Callable[[Any, str], Any]:
    """Return the function of user and room that says who may enter; raises ImportError."""
    found: Callable[[Any, str], Any] = import_string(room_access_path())
    return found
