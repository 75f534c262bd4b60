"""Signalbox' task engine: the public names. Importing this needs no ready app registry."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks_app.context import TaskContext as TaskContext
    from tasks_app.coroutines import cleanup_task as cleanup_task
    from tasks_app.coroutines import create_task as create_task
    from tasks_app.coroutines import has_active_tasks as has_active_tasks
    from tasks_app.coroutines import list_task_ids_by_item_id as list_task_ids_by_item_id
    from tasks_app.coroutines import list_tasks as list_tasks
    from tasks_app.coroutines import stop_item_tasks as stop_item_tasks
    from tasks_app.coroutines import stop_task as stop_task
    from tasks_app.definition import task as task
    from tasks_app.domain.retry import Retry as Retry
    from tasks_app.periodic_jobs import periodic as periodic
    from tasks_app.services.gather import gather as gather
    from tasks_app.store.locks import RedisLock as RedisLock
    from tasks_app.store.mappings import RedisDict as RedisDict

_HOMES = {
    "RedisDict": "tasks_app.store.mappings",
    "RedisLock": "tasks_app.store.locks",
    "Retry": "tasks_app.domain.retry",
    "cleanup_task": "tasks_app.coroutines",
    "create_task": "tasks_app.coroutines",
    "TaskContext": "tasks_app.context",
    "gather": "tasks_app.services.gather",
    "has_active_tasks": "tasks_app.coroutines",
    "list_task_ids_by_item_id": "tasks_app.coroutines",
    "list_tasks": "tasks_app.coroutines",
    "periodic": "tasks_app.periodic_jobs",
    "stop_item_tasks": "tasks_app.coroutines",
    "stop_task": "tasks_app.coroutines",
    "task": "tasks_app.definition",
}

__all__ = [
    "RedisDict", "RedisLock", "Retry", "TaskContext", "cleanup_task", "create_task", "gather",
    "has_active_tasks", "list_task_ids_by_item_id", "list_tasks", "periodic", "stop_item_tasks",
    "stop_task", "task",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
