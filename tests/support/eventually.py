"""Waits for a condition with a deadline, and shows the last failure when it is not met."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

WITHIN = 15.0  # seconds: a net under what has gone wrong, on however busy a machine


def eventually_sync(check: Callable[[], T], *, within: float = WITHIN, every: float = 0.02) -> T:
    """Call `check` until it returns something true; raise with the last outcome at the deadline."""
    deadline = time.monotonic() + within
    while True:
        outcome, failure = _attempt(check)
        if outcome:
            return outcome
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s; last: {failure or outcome!r}")
        time.sleep(every)


async def eventually(
    check: Callable[[], Awaitable[T]], *, within: float = WITHIN, every: float = 0.02
) -> T:
    """Await `check` until it returns something true; raise the last outcome at the deadline."""
    deadline = time.monotonic() + within
    while True:
        failure: AssertionError | None = None
        outcome: T | None = None
        try:
            outcome = await check()
        except AssertionError as error:
            failure = error
        if outcome:
            return outcome
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s; last: {failure or outcome!r}")
        await asyncio.sleep(every)


def _attempt(check: Callable[[], T]) -> tuple[T | None, AssertionError | None]:
    try:
        return check(), None
    except AssertionError as error:
        return None, error
