"""Periodic jobs that write down in Redis which period they ran, with which fence, and where."""

from __future__ import annotations

import asyncio
import os

from tasks_app import periodic
from tasks_app.domain.periodic import Run
from tasks_app.store import client, keys


async def note(run: Run, event: str = "ran") -> None:
    line = f"{event} {round(run.due.timestamp() * 1000)} {run.fence} {os.getpid()}"
    await client.client().rpush(f"{keys.current().prefix}noted:{run.name}", line)


@periodic(every=1, lock="each-second", lock_timeout=2)
async def each_second(run: Run) -> None:
    await note(run)


@periodic(every=1, lock="slow", lock_timeout=2)
async def hold_on(run: Run) -> None:
    """Runs until its process dies or is told to stop."""
    await note(run, "began")
    try:
        await asyncio.Event().wait()
    finally:
        await note(run, "ended")
