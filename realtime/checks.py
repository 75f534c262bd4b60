"""System checks of the realtime layer's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error

from realtime import conf
from realtime.domain.limits import CONFIGURABLE

HINT = (
    "Give the dotted path of a function of user and room, such as "
    f"{conf.DEFAULT_ROOM_ACCESS!r}, the default."
)


LIMITS_HINT = f"A dictionary with any of {', '.join(sorted(CONFIGURABLE))}: whole numbers from 1."


def check_limits(
    app_configs: Sequence[Any] | None = None,  # noqa: ARG001 Django's signature
    **_: Any,
) -> list[CheckMessage]:
    """Check that SIGNALBOX_LIMITS has known names and usable numbers."""
    limits = conf.configured_limits()
    if not isinstance(limits, dict):
        wrong = [f"is {limits!r}"]
    else:
        wrong = [f"has no {name!r}" for name in limits if name not in CONFIGURABLE]
        wrong += [
            f"has {value!r} for {name!r}"
            for name, value in limits.items()
            if name in CONFIGURABLE and (type(value) is not int or value < 1)
        ]
    return [
        Error(f"SIGNALBOX_LIMITS {what}.", hint=LIMITS_HINT, id="realtime.E002") for what in wrong
    ]


def check_room_access(
    app_configs: Sequence[Any] | None = None,  # noqa: ARG001 Django's signature
    **_: Any,
) -> list[CheckMessage]:
    """Check that SIGNALBOX_ROOM_ACCESS names something that can be asked."""
    path = conf.room_access_path()
    said = f"SIGNALBOX_ROOM_ACCESS is {path!r}"
    if not isinstance(path, str):
        return [Error(f"{said}, which is no text.", hint=HINT, id="realtime.E001")]
    try:
        function = conf.room_access()
    except Exception as error:  # noqa: BLE001 importing it may run whatever the project wrote
        problem = f"{said}, which cannot be imported: {error}"
        return [Error(problem, hint=HINT, id="realtime.E001")]
    if not callable(function):
        return [Error(f"{said}, which cannot be called.", hint=HINT, id="realtime.E001")]
    return []
