"""Tasks that the tests run: each shows one way in which a function can behave."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from django_tasks.base import Task as DjangoTask

from tasks_app import Retry, task

FINALLY: list[str] = []  # what `finally` blocks of this process wrote


class Unreachable(ConnectionError):
    """The sample's retryable error."""


@task
async def add(a: int, b: int) -> int:
    return a + b


@task
def add_in_thread(a: int, b: int) -> int:
    return a + b


def _foreign(text: str) -> str:
    return text * 2


# As code that knows Django's Tasks only would make it, under another backend's class.
_foreign.__qualname__ = "foreign"
foreign = DjangoTask(func=_foreign)


@task(takes_context=True)
async def talk(context: Any, words: list[str], pause: float = 0.0) -> str:
    for word in words:
        context.token(word)
        await asyncio.sleep(pause)
    return "".join(words)


@task(takes_context=True)
async def wait_for_stop(context: Any) -> None:
    context.token("waiting")
    try:
        await asyncio.Event().wait()
    finally:
        FINALLY.append(context.task_id)


@task(takes_context=True)
async def swallow_stop(context: Any) -> str:
    context.token("deaf")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "I go on"
    return ""


@task(takes_context=True)
def look_for_stop(context: Any) -> str:
    context.progress(0.5, "half-way")
    while not context.cancelled:
        time.sleep(0.01)
    return "stopped by myself"


@task
async def fail() -> None:
    raise ValueError("the reason")


@task
async def leave() -> None:
    sys.exit("gone")


@task(retry=Retry(max_attempts=3, base=0.01, jitter=False))
async def fail_until_third(path: str) -> int:
    with open(path, "a") as file:  # noqa: ASYNC230, PTH123 a test's counter across attempts
        file.write("x")
    with open(path) as file:  # noqa: ASYNC230, PTH123
        tries = len(file.read())
    if tries < 3:
        raise Unreachable("not yet")
    return tries


@task(timeout=0.05)
async def too_slow() -> None:
    await asyncio.sleep(60)


@task
async def not_json() -> object:
    return object()


@task(takes_context=True)
async def chatter(context: Any, count: int) -> None:
    for number in range(count):
        context.token(f"{number} ")
        if number % 50 == 0:
            await asyncio.sleep(0)


RELEASED = asyncio.Event()


@task(takes_context=True)
async def ignore_stop(context: Any) -> None:
    context.token("stubborn")
    while not RELEASED.is_set():
        try:
            await RELEASED.wait()
        except asyncio.CancelledError:
            continue
