"""Django's Tasks API from wherever it is: `django.tasks` since Django 6, `django_tasks` before.

All of our code takes these names from here. The types are the backport's, which are generic.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import django

P = ParamSpec("P")
T = TypeVar("T")

__all__ = [
    "APP", "LOGGER", "PACKAGE", "BaseTaskBackend", "DjangoTask", "DjangoTaskContext",
    "GenericTask", "InvalidTaskBackendError", "InvalidTaskError", "TaskError", "TaskResult",
    "TaskResultDoesNotExist", "TaskResultMismatch", "TaskResultStatus", "log_task_enqueued",
    "log_task_finished", "log_task_started", "task_backends", "task_enqueued", "task_finished",
    "task_started",
]  # fmt: skip

# Tested on Django 5.2 with the backport and on Django 6.1; 6.0 differs in what `_names` covers.
BUILT_IN = django.VERSION >= (6,)
PACKAGE = "django.tasks" if BUILT_IN else "django_tasks"
LOGGER = PACKAGE  # the package's signals log under its own name
APP = None if BUILT_IN else "django_tasks"  # what INSTALLED_APPS must have besides ours

if TYPE_CHECKING:
    from django.dispatch import Signal
    from django_tasks import task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task as DjangoTask
    from django_tasks.base import TaskContext as DjangoTaskContext
    from django_tasks.base import TaskError, TaskResult, TaskResultStatus
    from django_tasks.exceptions import (
        InvalidTaskBackendError,
        InvalidTaskError,
        TaskResultDoesNotExist,
        TaskResultMismatch,
    )

    # Written down, not imported: mypy loses them in the package's circle of imports.
    task_enqueued: Signal
    task_started: Signal
    task_finished: Signal
    log_task_enqueued: Callable[..., None]
    log_task_started: Callable[..., None]
    log_task_finished: Callable[..., None]

    GenericTask = DjangoTask
else:

    def _names(module: str, *names: str) -> list[Any]:
        """Return attributes of the package's module; Django 6 names its errors without "Error"."""
        found = importlib.import_module(f"{PACKAGE}.{module}" if module else PACKAGE)
        return [
            getattr(found, name, None) or getattr(found, name.removesuffix("Error"))
            for name in names
        ]

    [task_backends] = _names("", "task_backends")
    [BaseTaskBackend] = _names("backends.base", "BaseTaskBackend")
    DjangoTask, DjangoTaskContext, TaskError, TaskResult, TaskResultStatus = _names(
        "base", "Task", "TaskContext", "TaskError", "TaskResult", "TaskResultStatus"
    )
    InvalidTaskBackendError, InvalidTaskError = _names(
        "exceptions", "InvalidTaskBackendError", "InvalidTaskError"
    )
    TaskResultDoesNotExist, TaskResultMismatch = _names(
        "exceptions", "TaskResultDoesNotExist", "TaskResultMismatch"
    )
    task_enqueued, task_started, task_finished = _names(
        "signals", "task_enqueued", "task_started", "task_finished"
    )
    log_task_enqueued, log_task_started, log_task_finished = _names(
        "signals", "log_task_enqueued", "log_task_started", "log_task_finished"
    )

    if hasattr(DjangoTask, "__class_getitem__"):
        GenericTask = DjangoTask
    else:

        class GenericTask(DjangoTask, Generic[P, T]):  # Django 6's Task takes no parameters
            __slots__ = ()
