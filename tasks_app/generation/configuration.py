"""The task configuration as it is in force: kept by django-constance, in the database.

Read by every process at most half a second after it was changed anywhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from constance import settings as constance
from constance.codecs import dumps, loads
from constance.models import Constance
from django.db import DatabaseError, transaction

from tasks_app.database import query
from tasks_app.generation.errors import InvalidOptions
from tasks_app.generation.options import KINDS, OPTIONS, Override, TaskConfig, checked
from tasks_app.generation.remembered import Remembered

__all__ = ["KINDS", "Override", "TaskConfig", "current", "current_sync", "update", "update_sync"]

logger = logging.getLogger("signalbox.generation")

FRESH_S = 0.5


_copies: WeakKeyDictionary[asyncio.AbstractEventLoop, Remembered[TaskConfig]] = WeakKeyDictionary()


async def current() -> TaskConfig:
    """Return the configuration in force, at most half a second old.

    While the database is away the last one known stays in force, so that what was forbidden stays
    forbidden; raises DatabaseError where none was read yet.
    """
    return await _copy().get(FRESH_S)


async def update(fields: Mapping[str, Any]) -> TaskConfig:
    """Change some fields, all or none of them, and return the whole configuration.

    Raises InvalidOptions, which names every field that is unknown or whose value is refused.
    """
    config = await query(update_sync, fields)
    _copy().put(config)
    return config


def current_sync() -> TaskConfig:
    """Do as `current`, from synchronous code: reads the database."""
    stored = Constance.objects.filter(key__in=[_key(name) for name in OPTIONS])
    texts = dict(stored.values_list("key", "value"))
    return TaskConfig(**{name: _value(name, texts.get(_key(name))) for name in OPTIONS})


def update_sync(fields: Mapping[str, Any]) -> TaskConfig:
    """Do as `update`, from synchronous code."""
    # Not by django-constance's own `set`, which is silent when the database does not answer.
    rows = [
        Constance(key=_key(name), value=dumps(value)) for name, value in checked(fields).items()
    ]
    with transaction.atomic():
        Constance.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["key"], update_fields=["value"]
        )
        return current_sync()


async def _read() -> TaskConfig:
    return await query(current_sync)


def _copy() -> Remembered[TaskConfig]:
    loop = asyncio.get_running_loop()
    if loop not in _copies:
        _copies[loop] = Remembered("task configuration", _read, outages=(DatabaseError,))
    return _copies[loop]


def _key(name: str) -> str:
    return f"{constance.DATABASE_PREFIX}{name}"


def _value(name: str, text: str | None) -> Any:
    """Return what a row holds; the first value where there is none, or none that is accepted."""
    if text is None:
        return _first(name)
    try:
        return checked({name: loads(text)})[name]
    except (ValueError, InvalidOptions) as error:
        logger.warning("task_config_refused field=%s error=%s", name, error)
        return _first(name)


def _first(name: str) -> Any:
    given = constance.CONFIG.get(name)
    return OPTIONS[name].default if given is None else given[0]
