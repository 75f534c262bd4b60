"""Tasks for the chaos test: every kind of function, each done within a few seconds."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import timedelta
from typing import Any

from django.utils import timezone

from tasks_app import Retry, gather, task
from tasks_app.definition import TaskDefinition

PATIENT = 1000  # deliveries: no number of dying workers is the task's own failure
LIMIT = 2


@task(max_deliveries=PATIENT)
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@task(max_deliveries=PATIENT)
def sleep_in_thread(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@task(max_deliveries=PATIENT, takes_context=True)
def look_in_thread(context: Any, seconds: float) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not context.cancelled:
        time.sleep(0.01)
    return "looked"


@task(max_deliveries=PATIENT, takes_context=True)
async def stream(context: Any, count: int) -> int:
    for number in range(count):
        context.token(f"{number} ")
        context.progress(number / count)
        await asyncio.sleep(0.02)
    return count


@task(max_deliveries=PATIENT)
async def fail() -> None:
    raise ValueError("as it must")


@task(max_deliveries=PATIENT, retry=Retry(max_attempts=50, base=0.05, cap=0.2))
async def fail_often() -> str:
    await asyncio.sleep(0.05)
    if random.random() < 0.7:  # noqa: S311 not a secret
        raise ConnectionError("not this time")
    return "at last"


@task(max_deliveries=PATIENT)
async def ignore_cancellation(seconds: float) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue
    return "undisturbed"


@task(max_deliveries=PATIENT)
async def have_children(count: int) -> list[Any]:
    """Start children and wait for them. (Where Redis is away meanwhile, `gather` raises.)"""
    children = await sleep.aenqueue_many([((0.2,), {})] * count)
    return await gather(*children, return_exceptions=False)


@task(max_deliveries=3)
async def die_with_workers(seconds: float) -> None:
    await asyncio.sleep(seconds)


# What ends as succeeded unless somebody stops it, whatever happens to processes and connections.
RELIABLE = {"sleep", "sleep_in_thread", "look_in_thread", "stream", "fail_often",
            "ignore_cancellation"}  # fmt: skip


def any_task(rng: random.Random) -> tuple[TaskDefinition[..., Any], tuple[Any, ...]]:
    """Return a definition, its options and its arguments, at random."""
    definition: TaskDefinition[..., Any]
    definition, *args = rng.choice([
        (sleep, 0.0), (sleep, rng.uniform(0, 1)), (sleep, 3.0),
        (sleep_in_thread, rng.uniform(0, 1)),
        (look_in_thread, 2.0), (stream, 40), (stream, 150), (fail,), (fail_often,),
        (ignore_cancellation, 1.5), (have_children, 3), (die_with_workers, 1.0),
    ])  # fmt: skip
    options = rng.choice([
        {}, {}, {},
        {"concurrency_key": f"model-{rng.randrange(2)}", "concurrency": LIMIT},
        {"run_after": timezone.now() + timedelta(seconds=rng.uniform(0, 2))},
        {"debounce": 0.3, "max_wait": 1.0, "debounce_key": f"doc-{rng.randrange(2)}"},
        {"unique_key": f"report-{rng.randrange(3)}"},
        {"supersede_key": f"chat-{rng.randrange(3)}"},
    ])  # fmt: skip
    item = rng.choice(["", "chat-1", "chat-2"])
    return definition.using(**options, item_id=item, priority=rng.randint(-2, 2)), tuple(args)
