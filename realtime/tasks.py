"""The realtime layer's periodic jobs: each removes from the pools what nobody keeps alive.

Readers never count what has expired, and a pool that nobody pings goes as a whole by itself: these
are for the sessions of processes that died while others went on.
"""

from __future__ import annotations

from typing import Protocol

from realtime.services import pools
from tasks_app import periodic


class Run(Protocol):
    """What a periodic job receives, as far as these need it."""

    async def check(self) -> None: ...


@periodic(every=30, lock="session-pool")
async def clean_session_pool(run: Run) -> None:
    """Remove the sessions that were not heard of for SESSION_TIMEOUT_SECONDS."""
    await pools.clean_sessions(run.check)


@periodic(every=5, lock="usage-pool")
async def clean_usage_pool(run: Run) -> None:
    """Remove the uses that were not repeated for USAGE_TIMEOUT_SECONDS."""
    await pools.clean_usage(run.check)
