"""The benchmark's tasks on our engine."""

from __future__ import annotations

from tasks_app import task
from tests.benchmarks.peers import bodies


@task
async def noop() -> None:
    await bodies.noop()


@task
async def hang(path: str) -> None:
    await bodies.hang(path)
