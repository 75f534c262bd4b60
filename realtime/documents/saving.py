"""Saving a document: from its log in Redis into the database, one writer winning, nothing lost.

The order matters, and each step of it was found necessary: the log is read before the row (else
what another save moves from one to the other meanwhile is seen in neither); the row is replaced
only if it is still the one that was read; the log is trimmed only up to what was committed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError

from realtime import conf
from realtime.documents import saved
from realtime.documents.database import in_database
from realtime.documents.live import LiveText
from realtime.documents.saved import Saved
from realtime.errors import DocumentNotFound, DocumentUnavailable
from realtime.store import documents as store
from realtime.store.documents import BEGINNING, Log
from tasks_app import Retry, api, task

log = logging.getLogger(__name__)

ROUNDS = 20  # another save wins that often only if something is wrong
IDLE_SECONDS = 15.0


class DatabaseAway(Exception):
    """The database does not answer; the edits stay in Redis meanwhile."""

    permanent = False  # the engine tries again


@task(
    retry=Retry(max_attempts=1000, base=0.5, cap=5.0),
    debounce=0.5,
    max_wait=5.0,
    concurrency=1,
    timeout=120.0,
    detached=True,
)
async def save_document(document_id: str) -> int | None:
    """Save what was edited; answer the version that the database then has, None: it is gone."""
    try:
        return (await save(document_id)).version
    except DocumentNotFound:
        return None
    except (OperationalError, InterfaceError) as error:
        raise DatabaseAway(str(error)) from error


async def schedule(document_id: str, seconds_ago: float = 0.0) -> None:
    """Save a document after the quiet time that follows its last edit, `seconds_ago`.

    Raises StoreUnavailable.
    """
    wait = max(0.001, conf.save_debounce_seconds() - seconds_ago)
    definition = save_document.using(
        debounce=wait,
        max_wait=conf.save_max_wait_seconds(),
        debounce_key=document_id,
        concurrency_key=f"document:{document_id}",
    )
    await api.enqueue_task(definition, args=[document_id])


async def save(document_id: str) -> Saved:
    """Bring the database up to the log; return what it then has.

    Safe from any process at any time, and when it is cut off anywhere. Raises DocumentNotFound,
    StoreUnavailable, DocumentUnavailable, and the database's errors.
    """
    for _ in range(ROUNDS):
        found = await store.read(document_id)
        row = await in_database(saved.read, document_id)
        if row is None:
            await store.drop(document_id)
            raise DocumentNotFound
        if not isinstance(found, Log):
            return row
        if not store.is_before(row.sid, found.last):
            await store.trim(document_id, row.sid)
            return row
        result = await asyncio.to_thread(_derive, row, found)
        if result.row is not row and not await in_database(
            saved.write, document_id, row, result.row
        ):
            continue
        if result.trimmed != BEGINNING:
            await store.trim(document_id, result.trimmed)
        if result.row is not row:
            log.info("document_saved document_id=%s version=%s", document_id, result.row.version)
        return result.row
    raise DocumentUnavailable("Somebody else saves this document all the time.")


@dataclass(frozen=True, slots=True)
class _Result:
    row: Saved  # the same that was read when nothing changed
    trimmed: str  # up to where the log is not needed any more


def _derive(row: Saved, found: Log) -> _Result:
    live = LiveText([row.update])
    before = live.missing()
    for update in found.updates:
        live.apply(update)
    state = live.missing()
    # Updates that wait for others are in the state too, but as long as somebody may still send
    # those, the log stays the place where they are.
    stays = live.is_waiting and found.age_seconds < IDLE_SECONDS
    trimmed = BEGINNING if stays else found.last
    if state == before and row.state:
        return _Result(row, trimmed)
    # PostgreSQL's text has no NUL; the state keeps it.
    content = live.text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    sid = row.sid if stays else found.last
    return _Result(Saved(content=content, state=state, sid=sid, version=row.version + 1), trimmed)


async def save_forgotten() -> int:
    """Schedule a save of each document that a process may have left unsaved as it died.

    Answers how many. A document that was saved, and left alone since, is not looked at again.
    """
    scheduled = 0
    for document_id in await store.unsaved():
        found = await store.read(document_id)
        if isinstance(found, Log) and found.updates:
            await schedule(document_id)
            scheduled += 1
        elif not isinstance(found, Log) or found.age_seconds > IDLE_SECONDS:
            await store.note_saved(document_id)
            again = await store.read(document_id)
            if isinstance(again, Log) and again.updates:  # appended just now
                await store.note_unsaved(document_id)
    return scheduled
