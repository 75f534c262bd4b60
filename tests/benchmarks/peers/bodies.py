"""What every contestant's two tasks do: nothing, and waiting to be stopped."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path


async def noop() -> None:
    pass


async def hang(path: str) -> None:
    """Wait for ever; when stopped, write the moment into the file.

    The clock is CLOCK_MONOTONIC, which all processes of one machine share.
    """
    Path(f"{path}.started").touch()  # noqa: ASYNC240 nothing else runs in this worker meanwhile
    try:
        await asyncio.Event().wait()
    finally:
        ended = time.monotonic()
        Path(f"{path}.new").write_text(repr(ended))  # noqa: ASYNC240
        Path(f"{path}.new").rename(path)  # noqa: ASYNC240
