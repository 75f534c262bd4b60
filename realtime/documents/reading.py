"""A document's text as it is now, without opening a room: the row, and what the log has besides."""

from __future__ import annotations

import asyncio

from realtime.documents import saved
from realtime.documents.database import in_database
from realtime.documents.live import LiveText
from realtime.errors import DocumentNotFound
from realtime.store import documents as store
from realtime.store.documents import Log


async def live_text(document_id: str) -> str:
    """Return the text, saved or not.

    Raises DocumentNotFound, StoreUnavailable, and the database's errors.
    """
    found = await store.read(document_id)
    row = await in_database(saved.read, document_id)
    if row is None:
        raise DocumentNotFound
    if not isinstance(found, Log) or not store.is_before(row.sid, found.last):
        return row.content
    updates = [row.update, *found.updates]
    return await asyncio.to_thread(lambda: LiveText(updates).text)
