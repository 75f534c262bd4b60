"""Executes one attempt: the function, its time-out, its cancellation, its outcome; no Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from concurrent.futures import Executor
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from tasks_app.conf import MAX_OUTPUT_BYTES
from tasks_app.definition import TaskDefinition, resolve
from tasks_app.domain import retry, traces
from tasks_app.domain.codec import dumps, dumps_any
from tasks_app.domain.context import current_task_id, current_wait
from tasks_app.errors import InvalidResult, InvalidTask
from tasks_app.worker.announce import announce_start
from tasks_app.worker.attempt import Attempt, Ending, Outcome, Purpose
from tasks_app.worker.context import WorkerContext
from tasks_app.worker.threads import in_thread

log = logging.getLogger(__name__)


async def execute(attempt: Attempt, threads: Executor) -> Outcome:
    """Run the attempt's function to its end and say how it ended.

    Whatever the function raises becomes an outcome. A cancellation that nobody asked for (the
    function raised it by itself) is a failure.
    """
    current_task_id.set(attempt.claimed.id)
    current_wait.set(attempt.on_wait)
    try:
        definition = await resolve(attempt.claimed.path)
        await announce_start(attempt, definition)
        result = await _within_timeout(attempt, definition, threads)
        return _succeeded(attempt, result)
    except asyncio.CancelledError:
        if attempt.purpose is None:
            return failed(attempt, asyncio.CancelledError("The task cancelled itself."))
        return cancelled(attempt)
    # User code may raise anything, even SystemExit, which would end the loop, or GeneratorExit;
    # the worker goes on. (A real Ctrl-C comes by the loop's signal handler.)
    except BaseException as error:  # noqa: BLE001
        if attempt.purpose is Purpose.RELEASE and not attempt.is_unaware:
            return cancelled(attempt)  # whatever it makes of its cancellation
        return _after_error(attempt, error)


def cancelled(attempt: Attempt) -> Outcome:
    """Return the outcome of an attempt that this worker cancelled."""
    released = attempt.purpose is Purpose.RELEASE
    return Outcome(ending=Ending.RELEASE if released else Ending.CANCELED)


async def _within_timeout(
    attempt: Attempt, definition: TaskDefinition[..., Any], threads: Executor
) -> Any:
    payload = _arguments(attempt.claimed.payload)
    args = (
        [WorkerContext(attempt, definition), *payload[0]]
        if definition.takes_context
        else payload[0]
    )
    limit = attempt.claimed.timeout
    # The time-out is the function's: one that waits for a thread has not begun.
    scope = asyncio.timeout(None)
    if iscoroutinefunction(definition.func):
        work = definition.func(*args, **payload[1])
    else:
        attempt.in_thread = True
        work = in_thread(
            threads, partial(definition.func, *args, **payload[1]), attempt.interrupt,
            began=lambda: _begin(attempt, scope), heeds=lambda: not attempt.is_unaware,
            own_connections=attempt.in_worker,
        )  # fmt: skip
    if limit is None:
        return await work
    try:
        async with scope:
            if iscoroutinefunction(definition.func):
                _begin(attempt, scope)
            result = await work
        if not scope.expired():  # else it swallowed its cancellation
            return result
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise too_late(limit) from error
    raise too_late(limit)


def _begin(attempt: Attempt, scope: asyncio.Timeout) -> None:
    limit = attempt.claimed.timeout
    if limit is None or attempt.outcome is not None:
        return
    with contextlib.suppress(RuntimeError):  # it has ended before the loop heard of its begin
        scope.reschedule(asyncio.get_running_loop().time() + limit)
    if attempt.on_begin is not None:
        attempt.on_begin()


def too_late(limit: float | None) -> TimeoutError:
    return TimeoutError(f"The task ran longer than its time-out of {limit or 0:g} s.")


def _arguments(payload: str) -> tuple[list[Any], dict[str, Any]]:
    try:
        loaded = json.loads(payload)
        return list(loaded["args"]), dict(loaded["kwargs"])
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidTask("The task's arguments in Redis are damaged.") from error


def _succeeded(attempt: Attempt, result: Any) -> Outcome:
    try:
        text = dumps_any(result)
    except (TypeError, ValueError, RecursionError) as error:
        return _invalid(attempt, f"The result is not JSON: {error}")
    if len(text) * 4 > MAX_OUTPUT_BYTES and len(text.encode()) > MAX_OUTPUT_BYTES:
        return _invalid(attempt, f"The result exceeds {MAX_OUTPUT_BYTES} bytes.")
    return Outcome(ending=Ending.SUCCEEDED, result=text)


def _invalid(attempt: Attempt, message: str) -> Outcome:
    return failed(attempt, InvalidResult(message))


def failed(attempt: Attempt, error: BaseException) -> Outcome:
    """Return the outcome of an attempt that ends its task as failed, because of `error`."""
    described = retry.describe(error)
    return Outcome(
        ending=Ending.FAILED,
        error=dumps(described),
        fault=_fault(attempt, described, error),
        error_raised=error,
    )


def _fault(attempt: Attempt, described: dict[str, str], error: BaseException) -> str:
    # The traceback's source lines come from files, as those of any log do; they are few and cached.
    return dumps(
        {
            "attempt": attempt.claimed.attempt,
            "type": described["type"],
            "class": traces.class_path(type(error)),
            "traceback": traces.traceback_text(error),
        }
    )


def _after_error(attempt: Attempt, error: BaseException) -> Outcome:
    claimed = attempt.claimed
    described = retry.describe(error)
    policy = claimed.retry
    if policy is not None and not retry.is_permanent(error):
        delay = retry.delay(policy, claimed.failures + 1, retry_after=retry.retry_after(error))
        if delay is not None:
            log.warning(
                "attempt_retried task_id=%s name=%s attempt=%s delay=%.2f error=%s",
                claimed.id, claimed.name, claimed.attempt, delay, described["type"],
            )  # fmt: skip
            return Outcome(
                ending=Ending.RETRY,
                error=dumps(described),
                fault=_fault(attempt, described, error),
                delay=delay,
                error_raised=error,
            )
    log.warning(
        "attempt_failed task_id=%s name=%s attempt=%s error=%s",
        claimed.id, claimed.name, claimed.attempt, described["type"],
    )  # fmt: skip
    # The traceback is in the record, and in the log of Django's signal once the task has ended.
    return failed(attempt, error)
