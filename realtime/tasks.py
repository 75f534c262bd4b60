"""The realtime layer's tasks and periodic jobs: found by the engine because this module is here.

The pools' readers never count what has expired, and a pool that nobody pings goes as a whole by
itself: their jobs are for the sessions of processes that died while others went on.
"""

from __future__ import annotations

from typing import Protocol

from realtime.documents.continuing import continue_document
from realtime.documents.restoring import restore_version
from realtime.documents.saving import save_document, save_forgotten
from realtime.services import pools
from tasks_app import periodic

__all__ = [
    "clean_session_pool", "clean_usage_pool", "continue_document", "restore_version",
    "save_document", "save_forgotten_documents",
]  # fmt: skip


class Run(Protocol):
    """What a periodic job receives, as far as these need it."""

    async def check(self) -> None: ...


@periodic(every=5, lock="documents", lock_timeout=15)
async def save_forgotten_documents(run: Run) -> None:
    """Save what was appended by a process that died before it could ask for the save."""
    await run.check()
    await save_forgotten()


@periodic(every=30, lock="session-pool", lock_timeout=15)
async def clean_session_pool(run: Run) -> None:
    """Remove the sessions that were not heard of for SESSION_TIMEOUT_SECONDS."""
    await pools.clean_sessions(run.check)


@periodic(every=5, lock="usage-pool", lock_timeout=15)
async def clean_usage_pool(run: Run) -> None:
    """Remove the uses that were not repeated for USAGE_TIMEOUT_SECONDS."""
    await pools.clean_usage(run.check)
