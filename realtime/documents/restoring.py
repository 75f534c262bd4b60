"""The task that makes a version's text the document's again, for callers that cannot wait."""

from __future__ import annotations

from realtime.documents import rows
from realtime.documents.changing import change
from realtime.documents.database import in_database
from tasks_app import Retry, task


@task(retry=Retry(max_attempts=5), timeout=60.0)
async def restore_version(document_id: str, version: int) -> None:
    """Lay the text of a version into the live document, an edit like any other, and save."""
    found = await in_database(rows.version, document_id, version)
    await change(document_id, found.content)
