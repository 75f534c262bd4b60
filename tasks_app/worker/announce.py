"""Tells the receivers of Django's task signals what this worker starts and finishes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from tasks_app import signals
from tasks_app.compat import DjangoTask, task_finished, task_started
from tasks_app.definition import resolve
from tasks_app.domain.owned import end_owned
from tasks_app.domain.records import Task
from tasks_app.results import task_result
from tasks_app.store import client, keys
from tasks_app.store import tasks as store
from tasks_app.worker.attempt import Attempt, Ending
from tasks_app.worker.context import running_result

log = logging.getLogger(__name__)

ANNOUNCE_SECONDS = 30.0  # so long a receiver is waited for
# What Django's own receiver makes of it. That a user stopped something is no error to be reported.
LOGGED_AT = {Ending.SUCCEEDED: logging.INFO, Ending.FAILED: logging.ERROR}


async def announce_start(attempt: Attempt, definition: DjangoTask[..., Any]) -> None:
    """Send `task_started`, in the attempt's own asyncio task, before its function is called."""
    if signals.is_heard(task_started):
        await _within_deadline(
            attempt,
            lambda: signals.asend_robust(
                task_started, running_result(attempt, definition), in_worker=attempt.in_worker
            ),
        )


class Announcer:
    """Sends `task_finished` for what this worker has settled, once the record says it is finished.

    Each takes a slot of the worker until its receivers have returned: slow receivers slow the
    worker down instead of piling up.
    """

    def __init__(self, on_wait: Callable[[bool], None]) -> None:
        self._on_wait = on_wait
        self._sending: set[asyncio.Task[None]] = set()

    def finished(self, attempt: Attempt) -> None:
        """Begin to tell of the end of an attempt that was settled; of a retry there is nothing."""
        outcome = attempt.outcome
        if outcome is None or outcome.ending is Ending.RELEASE:
            return
        if not signals.is_end_heard(LOGGED_AT.get(outcome.ending)):
            return
        sending = asyncio.create_task(
            _within_deadline(attempt, lambda: _announce_end(attempt)),
            name=f"signalbox-announce-{attempt.claimed.id}",
        )
        self._sending.add(sending)
        self._on_wait(False)
        sending.add_done_callback(self._sent)

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._sending.discard(sending)
        self._on_wait(True)

    async def drain(self, seconds: float) -> None:
        """Wait until all was told, `seconds` at most."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=seconds)
        await end_owned(*self._sending)


async def _announce_end(attempt: Attempt) -> None:
    record = await client.arun(store.get(keys.current(), attempt.claimed.id))
    if record is not None and record.is_finished and attempt.outcome is not None:
        await tell_end(record, attempt.outcome.error_raised, in_worker=True)


async def tell_end(record: Task, error: BaseException | None, *, in_worker: bool) -> None:
    """Send `task_finished`, while the exception that ended the task is being handled, if any."""
    result = task_result(record, await resolve(record.path))
    if error is None:
        await signals.asend_robust(task_finished, result, in_worker=in_worker)
        return
    try:
        raise error  # noqa: TRY301 - receivers find it in `sys.exc_info()`, as Django promises
    except BaseException:  # noqa: BLE001 - whatever the task raised
        await signals.asend_robust(task_finished, result, in_worker=in_worker)


async def _within_deadline(attempt: Attempt, send: Callable[[], Any]) -> None:
    try:
        async with asyncio.timeout(ANNOUNCE_SECONDS):
            await send()
    # The task itself must not suffer: Redis or the database away, an unknown backend, a receiver
    # that hangs.
    except Exception:
        log.exception("announcement_failed task_id=%s", attempt.claimed.id)
