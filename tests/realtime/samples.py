"""A task for the socket tests that puts out much at once."""

from __future__ import annotations

import asyncio
from typing import Any

from tasks_app import task


@task(takes_context=True)
async def pour(context: Any, count: int, size: int) -> None:
    for number in range(count):
        context.token(f"{number:08}".ljust(size, "."))
        await asyncio.sleep(0.001)
