"""The realtime layer's tasks and periodic jobs: found by the engine because this module is here."""

from __future__ import annotations

from typing import Protocol

from realtime.documents.continuing import continue_document
from realtime.documents.restoring import restore_version
from realtime.documents.saving import save_document, save_forgotten
from tasks_app import periodic

__all__ = ["continue_document", "restore_version", "save_document", "save_forgotten_documents"]


class Run(Protocol):
    """What a periodic job receives, as far as this one needs it."""

    async def check(self) -> None: ...


@periodic(every=5, lock="documents")
async def save_forgotten_documents(run: Run) -> None:
    """Save what was appended by a process that died before it could ask for the save."""
    await run.check()
    await save_forgotten()
