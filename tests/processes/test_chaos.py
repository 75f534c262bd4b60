"""Processes and connections die at random, and every task ends exactly once."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import point_at
from tests.support.chaos import PREFIX, calm_stack, chaos

FAULTS = 25


@pytest.mark.timeout(300)
async def test_every_task_ends_once_whatever_dies(engine: None, settings: Any) -> None:
    """More faults, and the figures: `python -m tests.benchmarks.chaos --faults 500`."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 shown when it fails
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    stack = calm_stack(folder)
    point_at(settings, stack.redis.url, PREFIX)
    try:
        async with chaos(stack, seed) as run:
            report = await run.run(FAULTS, every=0.4)
    finally:
        shutil.rmtree(folder)
    assert report.tasks > FAULTS
    assert report.states["succeeded"]
