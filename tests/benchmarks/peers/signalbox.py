"""Ours, by its public surface: `manage.py taskworker`, Django's `aenqueue`, `api.stop_task`.

Settings: as in production (DEBUG off), nothing tuned; the benchmark sets the environment.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import django

from tests.benchmarks.peers.protocol import CONCURRENCY, Contestant, run

PREFIX = "bench"
TOGETHER = 40  # below the client's pool of 50 connections
WAIT_SECONDS = 20.0


class Signalbox(Contestant):
    """The engine of this repository."""

    worker = ["manage.py", "taskworker", "--concurrency", str(CONCURRENCY), "--grace", "1"]
    count = ["ZCARD", f"{PREFIX}:finished"]

    async def open(self) -> None:
        # After django.setup(), which needs the environment of the benchmark.
        from tasks_app import api  # noqa: PLC0415
        from tests.benchmarks import tasks  # noqa: PLC0415

        self.api, self.tasks = api, tasks

    async def close(self) -> None:
        await self.api.shutdown()

    async def enqueue_many(self, count: int) -> None:
        many = getattr(self.tasks.noop, "aenqueue_many", None)
        if many is not None:
            for done in range(0, count, 500):
                await many([((), {})] * min(500, count - done))
            return
        for done in range(0, count, TOGETHER):
            together = min(TOGETHER, count - done)
            await asyncio.gather(*(self.tasks.noop.aenqueue() for _ in range(together)))

    async def enqueue(self) -> str:
        return str((await self.tasks.noop.aenqueue()).id)

    async def wait(self, handle: Any) -> None:
        task = await self.api.wait_task(handle, WAIT_SECONDS)
        if not task.is_finished:
            raise TimeoutError(f"{handle} has not finished")

    def looks(self, handle: Any) -> list[str]:
        return ["HGET", f"{PREFIX}:task:{handle}", "finished"]

    async def hang(self, path: str) -> str:
        return str((await self.tasks.hang.aenqueue(path)).id)

    async def stop(self, handle: Any) -> None:
        await self.api.stop_task(handle, by="benchmark")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    run(Signalbox())
