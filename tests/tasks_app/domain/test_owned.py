"""Ending a task that loses a cancellation."""

from __future__ import annotations

import asyncio
import contextlib

from tasks_app.domain.owned import end_owned


async def test_asks_again_when_a_cancellation_was_swallowed() -> None:
    async def deaf_once() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf_once())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_owned(task)
    assert task.cancelled()


async def test_a_task_that_has_ended_is_left_alone() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    await end_owned(task)
    assert not task.cancelled()
