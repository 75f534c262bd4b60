"""Removes from Redis what is not kept any longer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from tasks_app import conf
from tasks_app.store import client, keys, scripts
from tasks_app.store import periodic as store

log = logging.getLogger(__name__)

BATCH = 500
UNSEEN_SECONDS = 7 * 86_400.0  # longer than any pause of all workers that should not lose figures


async def prune(check: Callable[[], Awaitable[None]], batch: int = BATCH) -> int:
    """Remove all tasks whose retention has passed; return how many.

    `check` is awaited before each batch: what it raises ends the work.
    """
    removed, last = 0, batch
    while last >= batch:
        await check()
        call = scripts.prune(keys.current().prefix, retention=conf.retention_seconds(), limit=batch)
        last = await client.arun(call)
        removed += last
    return removed


async def forget_periodic_jobs() -> None:
    """Remove the figures of periodic jobs that no worker has asked for in a week."""
    for name in await client.arun(store.forget(keys.current(), unseen=UNSEEN_SECONDS)):
        log.info("periodic_forgotten job=%s", name)
