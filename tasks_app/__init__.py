"""Signalbox' task engine: the public names. Importing this needs no ready app registry."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks_app.context import TaskContext as TaskContext
    from tasks_app.definition import task as task
    from tasks_app.domain.retry import Retry as Retry
    from tasks_app.services.gather import gather as gather
    from tasks_app.store.locks import RedisLock as RedisLock
    from tasks_app.store.mappings import RedisDict as RedisDict

_HOMES = {
    "RedisDict": "tasks_app.store.mappings",
    "RedisLock": "tasks_app.store.locks",
    "Retry": "tasks_app.domain.retry",
    "TaskContext": "tasks_app.context",
    "gather": "tasks_app.services.gather",
    "task": "tasks_app.definition",
}

__all__ = ["RedisDict", "RedisLock", "Retry", "TaskContext", "gather", "task"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
