"""Changing a document from outside, answered when it is saved."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

from realtime.documents.saving import save
from realtime.documents.writing import edit_document
from realtime.errors import DocumentChanged, DocumentUnavailable
from tasks_app import RedisLock
from tasks_app.errors import StoreUnavailable

LOCK_SECONDS: Final = 30.0
LOCK_WAIT_SECONDS: Final = 5.0


async def change(document_id: str, content: str | None, *, version: int | None = None) -> None:
    """Lay a text into the live document as a difference, and save.

    With `version` only if the document, what is not saved yet included, is still at that version:
    else DocumentChanged. Raises DocumentNotFound, DocumentTooLarge, DocumentUnavailable, and the
    database's errors.
    """
    try:
        async with AsyncExitStack() as stack:
            if version is not None:
                # Of two who say the same version only one can be right.
                await _alone(stack, document_id)
                if (await save(document_id)).version != version:
                    raise DocumentChanged
            if content is not None:
                await edit_document(document_id, content)
                await save(document_id)
    except StoreUnavailable as error:
        raise DocumentUnavailable from error


async def _alone(stack: AsyncExitStack, document_id: str) -> None:
    lock = RedisLock(f"document-change:{document_id}", timeout=LOCK_SECONDS)
    if not await lock.acquire(wait=LOCK_WAIT_SECONDS):
        raise DocumentUnavailable
    stack.push_async_callback(lock.release)
