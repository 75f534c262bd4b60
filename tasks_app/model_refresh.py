"""The periodic job that asks every provider for its models, once for the whole cluster."""

from __future__ import annotations

import time

from tasks_app.domain.periodic import Run
from tasks_app.generation import shared_models
from tasks_app.generation.catalog import get_catalog
from tasks_app.periodic_jobs import periodic


@periodic(every=10, lock="models", lock_timeout=15, timeout=10, catch_up=False)
async def refresh_models(run: Run) -> None:
    """Ask all providers at once and replace the shared dictionary of models."""
    listings = await get_catalog().listings()
    old = await shared_models.read_entries()
    await run.check()
    await shared_models.replace(shared_models.merged(old, listings, time.time()))
