"""Sends the signals of Django's Tasks API, at no cost where nobody listens.

The package itself listens to each of them, to log it: while nobody else does and that log level is
off, nothing is sent.
"""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.dispatch import Signal

from tasks_app import compat
from tasks_app.compat import TaskResult

_log = logging.getLogger(compat.LOGGER)
_OWN = {
    compat.task_enqueued: (id(compat.log_task_enqueued), logging.DEBUG),
    compat.task_started: (id(compat.log_task_started), logging.INFO),
    compat.task_finished: (id(compat.log_task_finished), logging.INFO),
}


def is_heard(signal: Signal, level: int | None = None) -> bool:
    """Tell whether sending would do anything; `level` is the one that the package would log at."""
    own, usual = _OWN[signal]
    return _has_others(signal, own) or _log.isEnabledFor(usual if level is None else level)


def _has_others(signal: Signal, own: int) -> bool:
    # A receiver's lookup key begins with its identity. (`has_listeners` would count the log's.)
    return any(key[0] != own for key, *_ in signal.receivers)


def send(signal: Signal, result: TaskResult[Any]) -> None:
    """Tell everybody, from synchronous code; what a receiver raises is raised."""
    if is_heard(signal):
        signal.send(_sender(result), task_result=result)


async def asend(signal: Signal, result: TaskResult[Any]) -> None:
    """Tell everybody, synchronous receivers in a thread; what a receiver raises is raised."""
    if _has_others(signal, _OWN[signal][0]):
        await signal.asend(_sender(result), task_result=result)
    elif is_heard(signal):  # the log alone: not worth a thread
        signal.send(_sender(result), task_result=result)


async def asend_robust(signal: Signal, result: TaskResult[Any]) -> None:
    """Tell everybody, from a worker: what a receiver raises is logged by Django."""
    if _has_others(signal, _OWN[signal][0]):
        await sync_to_async(close_old_connections)()  # receivers share this thread and its ORM
        await signal.asend_robust(_sender(result), task_result=result)
    else:
        signal.send_robust(_sender(result), task_result=result)


def _sender(result: TaskResult[Any]) -> type:
    return type(compat.task_backends[result.backend])
