"""The task configuration as it is in force: kept by django-constance, in the database.

Read by every process at most half a second after it was changed anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from constance import settings as constance
from constance.codecs import dumps, loads
from constance.models import Constance
from django.db import DatabaseError, close_old_connections, transaction

from tasks_app.generation.errors import InvalidOptions
from tasks_app.generation.options import KINDS, OPTIONS, Override, TaskConfig, checked

__all__ = ["KINDS", "Override", "TaskConfig", "current", "current_sync", "update", "update_sync"]

logger = logging.getLogger("signalbox.generation")

FRESH_S = 0.5


class _Copy:
    """What one event loop last read; its readers share one question."""

    def __init__(self) -> None:
        self.config: TaskConfig | None = None
        self.read_at = 0.0
        self.reading: asyncio.Task[TaskConfig] | None = None

    @property
    def is_fresh(self) -> bool:
        return self.config is not None and time.monotonic() - self.read_at < FRESH_S

    def done(self, reading: asyncio.Task[TaskConfig]) -> None:
        self.reading = None
        if not reading.cancelled():
            reading.exception()  # whoever waits has it; perhaps nobody does any more

    async def read(self) -> TaskConfig:
        asked_at = time.monotonic()
        try:
            config = await sync_to_async(_read_and_close)()
        except DatabaseError as error:
            if self.config is None:
                raise
            # What was forbidden stays forbidden: never back to the defaults.
            logger.warning("task_config_kept error=%s", error)
            config = self.config
        self.config, self.read_at = config, asked_at
        return config


_copies: WeakKeyDictionary[asyncio.AbstractEventLoop, _Copy] = WeakKeyDictionary()


async def current() -> TaskConfig:
    """Return the configuration in force, at most half a second old.

    While the database is away the last one known stays in force; raises DatabaseError where none
    was read yet.
    """
    copy = _copies.setdefault(asyncio.get_running_loop(), _Copy())
    if copy.is_fresh and copy.config is not None:
        return copy.config
    if copy.reading is None:
        copy.reading = asyncio.create_task(copy.read(), name="read the task configuration")
        copy.reading.add_done_callback(copy.done)
    # Shielded: one reading serves many callers and outlives any that is cancelled.
    return await asyncio.shield(copy.reading)


async def update(fields: Mapping[str, Any]) -> TaskConfig:
    """Change some fields, all or none of them, and return the whole configuration.

    Raises InvalidOptions, which names every field that is unknown or whose value is refused.
    """
    config = await sync_to_async(update_sync)(fields)
    copy = _copies.setdefault(asyncio.get_running_loop(), _Copy())
    copy.config, copy.read_at = config, time.monotonic()
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


def _read_and_close() -> TaskConfig:
    # In a worker no request ends, which would close a connection that has grown old or broken.
    close_old_connections()
    try:
        return current_sync()
    finally:
        close_old_connections()


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
