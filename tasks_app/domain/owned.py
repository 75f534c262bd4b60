"""Ends asyncio tasks that belong to us, for certain."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_SECONDS = 0.1


async def end_owned(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and wait until they are done, asking again as long as one goes on.

    A library may lose a cancellation: before Python 3.12 `asyncio.wait_for` swallows one that
    comes as its inner task ends.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
