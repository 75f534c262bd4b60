"""Tasks that the tests run: each shows one way in which a function can behave."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from django.contrib.auth import get_user_model

from tasks_app import Retry, gather, task
from tasks_app.compat import DjangoTask

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
foreign = DjangoTask(
    func=_foreign, priority=0, backend="default", queue_name="default", run_after=None
)


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


@task(retry=Retry(max_attempts=2, base=30, jitter=False))
async def fail_once_then_wait() -> None:
    raise Unreachable("for a long time")


@task(takes_context=True, retry=Retry(max_attempts=3, base=0.01, jitter=False))
def count_attempts(context: Any) -> list[Any]:
    if context.attempt < 3:
        raise Unreachable("not yet")
    shown = context.task_result
    return [context.attempt, shown.attempts, shown.worker_ids]


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


@task(takes_context=True)
async def stream_tokens(context: Any, seconds: float, rate: float) -> int:
    """Put out `rate` tokens a second, as a provider's stream does, at moments of its own."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    due = loop.time() + int(context.task_id[:8], 16) / 2**32 / rate
    count = 0
    while due < end:
        await asyncio.sleep(due - loop.time())
        context.token("word ")
        count += 1
        due += 1 / rate
    return count


RELEASED = asyncio.Event()


@task(takes_context=True)
async def ignore_stop(context: Any) -> None:
    context.token("stubborn")
    while not RELEASED.is_set():
        try:
            await RELEASED.wait()
        except asyncio.CancelledError:
            continue


@task(takes_context=True)
async def sum_of_children(context: Any, numbers: list[int]) -> int:
    """Start a child for each number and wait for all."""
    children = await add.aenqueue_many([((number, 0), {}) for number in numbers])
    context.token("started")
    return sum(await gather(*children))


@task(takes_context=True)
async def start_children_and_wait(context: Any, depth: int) -> None:
    """Start a child like itself, `depth` levels deep, and wait to be stopped."""
    if depth:
        await start_children_and_wait.aenqueue(depth - 1)
    context.token("waiting")
    await asyncio.Event().wait()


@task(takes_context=True)
async def report_half(context: Any) -> None:
    context.progress(0.5)
    await asyncio.Event().wait()


@task(takes_context=True)
async def start_and_wait(context: Any, count: int) -> list[Any]:
    """Start children that report half and wait for ever."""
    return await gather(*await report_half.aenqueue_many([((), {})] * count))


@task
def count_users() -> int:
    return get_user_model().objects.count()


@task
async def count_users_async() -> int:
    return await get_user_model().objects.acount()


@task
async def never_reached() -> None:
    raise Unreachable("again")


@task
async def big(size: int) -> str:
    return "x" * size


@task
def rest_in_thread(seconds: float) -> None:
    time.sleep(seconds)
