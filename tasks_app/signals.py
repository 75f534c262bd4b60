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


def is_heard(signal: Signal) -> bool:
    """Tell whether sending would do anything."""
    own, level = _OWN[signal]
    return _has_others(signal, own) or _log.isEnabledFor(level)


def is_end_heard(level: int | None) -> bool:
    """Tell the same of `task_finished`, which the package logs at `level`; None: it need not."""
    if level is not None and _log.isEnabledFor(level):
        return True
    return _has_others(compat.task_finished, _OWN[compat.task_finished][0])


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


async def asend_robust(signal: Signal, result: TaskResult[Any], *, in_worker: bool) -> None:
    """Tell everybody, as a worker does: what a receiver raises is logged by Django.

    Not by the signal's own `asend_robust`: its receivers would not find the exception that is
    being handled (asgiref shows it to the thread, asyncio does not to another task).
    """
    if _has_others(signal, _OWN[signal][0]):
        await sync_to_async(_send_robust)(signal, result, in_worker=in_worker)
    else:  # the log alone: not worth a thread
        signal.send_robust(_sender(result), task_result=result)


def _send_robust(signal: Signal, result: TaskResult[Any], *, in_worker: bool) -> None:
    if in_worker:
        close_old_connections()  # the receivers' thread lives long, a connection may not
    signal.send_robust(_sender(result), task_result=result)


def _sender(result: TaskResult[Any]) -> type:
    return type(compat.task_backends[result.backend])
