"""A room's document and its place in the update log: loading, appending, catching up, saving soon.

The log in Redis is the truth between saves. Whenever the log turns out to be another than was
thought (trimmed by a save, expired, lost with its Redis), all of it is read again, together with
the row, and what is here and nowhere else is appended anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from django.db import Error as DatabaseError

from realtime import conf
from realtime.documents import saved, saving
from realtime.documents.database import in_database
from realtime.documents.live import ApplyFailed, LiveText, merged
from realtime.errors import DocumentNotFound, DocumentUnavailable
from realtime.store import documents as store
from realtime.store.documents import Appended, Log, Refusal
from tasks_app import RedisLock
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS: Final = 4.0  # Redis may be away so long without anybody being disconnected
RETRY_SECONDS: Final = 0.1
COMPARE_AGAIN_SECONDS: Final = 5.0  # while the database is away
READS: Final = 10  # the log changes under us that often only if something is wrong
NOTE_SECONDS: Final = 2.0  # less than a saved document is left to itself before it is forgotten
LONGEST_SCHEDULE_SECONDS: Final = 0.25
COMPACT_ENTRIES: Final = 1000
COMPACT_BYTES: Final = 1024 * 1024
COMPACT_LOCK_SECONDS: Final = 30.0


class Journal:
    """One document in memory, kept with its log by one room."""

    def __init__(self, document_id: str, sender: str) -> None:
        self._document_id = document_id
        self._sender = sender
        self._live: LiveText | None = None
        self._position = store.BEGINNING
        self._loop = asyncio.get_running_loop()
        self._edited_at = self._scheduled_at = self._noted_at = float("-inf")
        self._entries = self._bytes = 0  # of the log, since it was last made short
        self.is_behind = False  # there are entries that were not read
        self._compare_at = float("inf")  # when all of log and row is to be read again, to be sure
        self._news: list[bytes] = []  # applied and in the log, not handed out yet

    @property
    def live(self) -> LiveText:
        if self._live is None:
            raise DocumentUnavailable
        return self._live

    def heard_of(self, entry_id: str) -> None:
        """Note that there is an entry of somebody else's."""
        self.is_behind = self.is_behind or store.is_before(self._position, entry_id)

    def missed_some(self) -> None:
        """Note that Redis was away: it may have come back with less, and been written to since."""
        self._compare_at = self._loop.time()

    async def load(self) -> None:
        """Read the document; raises DocumentNotFound, DocumentUnavailable, StoreUnavailable."""
        updates, self._position = await self._read_all()
        self._live = _made(updates)

    async def _read_all(self) -> tuple[list[bytes], str]:
        """Read the log, then the row (the other order would lose what a save moves meanwhile).

        Returns the updates of both and the higher of their last ids: Redis may have come back with
        less than the database has, and what is appended has to be above that.
        """
        updates, last = await self._read_log()
        try:
            row = await in_database(saved.read, self._document_id)
        except DatabaseError as error:
            raise DocumentUnavailable from error
        if row is None:
            raise DocumentNotFound
        return [row.update, *updates], _later(row.sid, last)

    async def _read_log(self) -> tuple[list[bytes], str]:
        found = await store.read(self._document_id)
        return (found.updates, found.last) if isinstance(found, Log) else ([], store.BEGINNING)

    # --- appending and catching up ----------------------------------------------------------------

    async def append(self, updates: Sequence[bytes]) -> list[bytes]:
        """Append what was applied here; return all that is new to the members, also of others.

        Without updates only that of others is read. Raises DocumentNotFound, DocumentUnavailable,
        and StoreUnavailable only after Redis has been away for a while.
        """
        if updates:
            update = merged(updates)
            await self._insist(lambda: self._append(update))
            self._edited_at = self._loop.time()
        elif self.is_behind:
            await self._insist(self._catch_up)
        if self._loop.time() >= self._compare_at:
            await self._insist(self._compare)
        news, self._news = self._news, []
        return news

    async def _append(self, update: bytes, floor: str = "") -> None:
        await self._announce()
        for _ in range(READS):
            answer = await store.append(
                self._document_id,
                update,
                position=self._position,
                sender=self._sender,
                floor=floor,
            )
            if isinstance(answer, Appended):
                self._take(answer.missed)
                self._news.append(update)
                self._count(answer.entries, [update, *answer.missed])
                self._position, self.is_behind = answer.id, False
                return
            here, floor = await self._read_again(answer)
            update = here or update
        raise DocumentUnavailable("The update log changes all the time.")

    async def _catch_up(self) -> None:
        found = await store.read(self._document_id, self._position)
        if isinstance(found, Log) and not found.is_whole:
            self._take(found.updates)
            self._position, self.is_behind = found.last, False
            return
        here, floor = await self._read_again(Refusal.GAP if isinstance(found, Log) else found)
        self.is_behind = False
        if here is not None:
            await self._append(here, floor)

    async def _compare(self) -> None:
        """Read all of it, and append what only this room has, if there is such a thing."""
        self._compare_at = self._loop.time() + COMPARE_AGAIN_SECONDS
        try:
            updates, position = await self._read_all()
        except DocumentUnavailable:  # the database is away: later
            return
        here, floor = self._united(updates, position)
        self._compare_at = float("inf")
        self.is_behind = False
        if here is not None:
            log.warning("log_lost document_id=%s reason=MISSED", self._document_id)
            await self._append(here, floor)

    async def _read_again(self, why: Refusal) -> tuple[bytes | None, str]:
        """Read all of it; return what only this room has, and the floor.

        The floor is the id that the next entry must be above, where Redis does not know any.
        """
        try:
            updates, position = await self._read_all()
        except DocumentUnavailable:
            # Editing goes on without the database; what it has besides is read when it is back.
            self._compare_at = self._loop.time() + COMPARE_AGAIN_SECONDS
            updates, position = await self._read_log()
        if why is Refusal.LOST or store.is_before(position, self._position):
            log.warning("log_lost document_id=%s reason=%s", self._document_id, why.name)
        here, floor = self._united(updates, position)
        return (None, "") if why is Refusal.GAP else (here, floor)

    def _united(self, updates: Sequence[bytes], position: str) -> tuple[bytes | None, str]:
        """Take what was read; return what only this room has (None: nothing), and the floor."""
        before = self.live.state
        for update in updates:
            self.live.apply(update)
        self._news.append(self.live.missing(before))
        self._position = _later(self._position, position)
        elsewhere = _made(updates)
        here = self.live.missing(elsewhere.state)
        # Without news everything was saved, and the log has gone since.
        return here if elsewhere.apply(here) else None, self._position

    def _take(self, updates: Sequence[bytes]) -> None:
        for update in updates:
            self.live.apply(update)
        self._news += updates

    async def _insist(self, action: Callable[[], Awaitable[T]]) -> T:
        deadline = self._loop.time() + PATIENCE_SECONDS
        while True:
            try:
                return await action()
            except StoreUnavailable:
                if self._loop.time() >= deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def restore(self, updates: Sequence[bytes], before: bytes) -> None:
        """Make the document anew, with these updates that are not in the log yet.

        The members have `before`: what came from elsewhere meanwhile is handed out by `append`.
        """
        known, self._position = await self._insist(self._read_all)
        self._live = _made(known)
        self._news.append(self._live.missing(before))
        for update in updates:
            self._live.apply(update)

    # --- size ------------------------------------------------------------------------------------

    async def is_too_large(self, update: bytes) -> bool:
        """Tell whether the state would be larger with the update than DOCUMENT_MAX_BYTES.

        Exact, but measured only where a bound does not tell. Raises ApplyFailed.
        """
        most = conf.document_max_bytes()
        if len(update) + self.live.largest_size <= most:
            return False
        if len(update) + self.live.size() <= most:
            return False
        whole = self.live.missing()
        size = await asyncio.to_thread(lambda: LiveText([whole, update]).size())
        return size > most

    # --- saving, compaction ----------------------------------------------------------------------

    async def _announce(self) -> None:
        """See to it that the document will be saved, before there is anything to save."""
        now = self._loop.time()
        if now - self._noted_at >= NOTE_SECONDS:
            await store.note_unsaved(self._document_id)
            self._noted_at = now
        if now - self._scheduled_at >= _schedule_seconds():
            await saving.schedule(self._document_id)
            self._scheduled_at = now

    async def tend(self, *, is_last: bool = False) -> float | None:
        """Do what is due: move the save to after the last edit, make a long log short.

        Returns in how many seconds there is more to do; None: nothing. Redis' absence is borne.
        """
        try:
            if self._entries >= COMPACT_ENTRIES or self._bytes >= COMPACT_BYTES:
                await self._compact()
            if self._edited_at <= self._scheduled_at:
                return None
            now = self._loop.time()
            wait = self._scheduled_at + _schedule_seconds() - now
            if wait > 0 and not is_last:
                return wait
            self._scheduled_at = now
            await saving.schedule(self._document_id, now - self._edited_at)
        except StoreUnavailable:
            return RETRY_SECONDS
        return None

    def _count(self, entries: int, updates: Sequence[bytes]) -> None:
        if entries <= len(updates):  # it was trimmed meanwhile
            self._bytes = 0
        self._entries = entries
        self._bytes += sum(map(len, updates))

    async def _compact(self) -> None:
        """Merge a long log into a snapshot, updates that wait for others included."""
        self._entries = self._bytes = 0
        lock = RedisLock(f"document:{self._document_id}", timeout=COMPACT_LOCK_SECONDS)
        if not await lock.acquire(wait=0):
            return
        try:
            found = await store.read(self._document_id)
            if isinstance(found, Log) and len(found.updates) > 1:
                snapshot = await asyncio.to_thread(merged, found.updates)
                await store.compact(self._document_id, found, snapshot)
        finally:
            await lock.release()


def _later(one: str, other: str) -> str:
    return other if store.is_before(one, other) else one


def _schedule_seconds() -> float:
    return min(conf.save_debounce_seconds() / 2, LONGEST_SCHEDULE_SECONDS)


def _made(updates: Sequence[bytes]) -> LiveText:
    try:
        return LiveText(updates)
    except ApplyFailed as error:
        raise DocumentUnavailable("The document's state cannot be read.") from error
