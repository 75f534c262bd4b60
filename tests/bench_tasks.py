"""Tasks that the benchmarks run."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from tasks_app import task


@task(takes_context=True)
async def wait_and_tell(context: Any, folder: str) -> None:
    """Wait to be stopped; leave the moment of the `finally` in a file that appears whole."""
    place = Path(folder) / context.task_id
    place.with_suffix(".started").touch()
    try:
        await asyncio.Event().wait()
    finally:
        ended = str(time.monotonic())
        place.with_suffix(".part").write_text(ended)
        os.replace(place.with_suffix(".part"), place.with_suffix(".ended"))  # noqa: PTH105
