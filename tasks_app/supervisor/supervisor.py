"""Runs Redis and the children in the foreground, and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol

from tasks_app.supervisor.child import Child
from tasks_app.supervisor.console import Console


class Service(Protocol):
    """Something that runs until it is stopped."""

    async def start(self) -> None: ...

    async def keep_alive(self) -> None: ...

    async def stop(self) -> None: ...


async def supervise(
    *,
    redis: Service | None,
    children: Sequence[Child],
    console: Console,
    started: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Run everything until SIGINT or SIGTERM; no process of ours is left when this returns.

    `started` is awaited once everything has been started. StartRefused of any of them stops all.
    """
    stopping = asyncio.Event()
    with _signals_set(stopping):
        services: list[Service] = [*([redis] if redis else []), *children]
        tasks: list[asyncio.Task[Any]] = []
        try:
            for service in services:
                await _unless(stopping, service.start())
                if stopping.is_set():
                    return
                tasks.append(asyncio.create_task(service.keep_alive()))
            tasks.append(asyncio.create_task(started()))
            await _until(stopping, tasks)
        finally:
            console.say("stopping")
            try:
                # Those that use Redis first, so that they can write down what they leave.
                await asyncio.gather(*(child.stop() for child in children))
            finally:
                if redis is not None:
                    await redis.stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                console.say("stopped")


async def _unless(stopping: asyncio.Event, step: Awaitable[None]) -> None:
    """Await a step of the start, or give it up when everything is to stop."""
    task = asyncio.ensure_future(step)
    await _until(stopping, [task])
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(stopping: asyncio.Event, tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Wait for the stop or until all tasks are done; raise what any of them raised."""
    ending = asyncio.create_task(stopping.wait())
    pending: set[asyncio.Future[Any]] = set(tasks)
    try:
        while pending and not ending.done():
            done, _ = await asyncio.wait({ending, *pending}, return_when=asyncio.FIRST_COMPLETED)
            pending -= done
            for task in done - {ending}:
                task.result()
    finally:
        ending.cancel()


@contextlib.contextmanager
def _signals_set(stopping: asyncio.Event) -> Iterator[None]:
    # Children run in their own sessions: Ctrl-C reaches only us, however the terminal sends it.
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
