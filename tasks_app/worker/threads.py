"""Runs synchronous functions in a bounded pool, each with its own database connection lifecycle."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from django.db import close_old_connections

T = TypeVar("T")


async def in_thread(
    threads: Executor,
    call: Callable[[], T],
    interrupted: Callable[[], None],
    *,
    began: Callable[[], None] = lambda: None,
    heeds: Callable[[], bool] = lambda: True,
    own_connections: bool = True,
) -> T:
    """Call it in the pool; a cancellation waits until its thread returns.

    A thread cannot be killed: `interrupted` is called so that it may look and return by itself.
    Until it returns it keeps its slot, so that the same function never runs twice at once in this
    process. One that still waits for a thread never starts; `began` is called, on the loop, when it
    has one. `heeds` is asked once it has returned: when it says no, the function did not end for
    the cancellation's sake, and what it returned or raised counts. `own_connections`: database
    connections are looked after as around a request.
    """
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    run = _with_fresh_database if own_connections else _call

    def begin() -> T:
        loop.call_soon_threadsafe(began)
        return run(call)

    job = threads.submit(context.run, begin)
    future = asyncio.wrap_future(job)
    cancellation: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancellation = error
            interrupted()
            if job.cancel():
                raise
    if cancellation is not None and heeds():
        future.exception()  # looked at, so that asyncio does not report it as forgotten
        raise cancellation
    return future.result()


def _with_fresh_database(call: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return _call(call)
    finally:
        close_old_connections()


def _call(call: Callable[[], T]) -> T:
    try:
        return call()
    except StopIteration as error:  # no future can hold it: its waiter would wait for ever
        raise RuntimeError("The function raised StopIteration.") from error
