"""A document's room: it owns the document in this process, and everything happens in its rounds.

One task takes what arrived, a round at a time: it applies the updates, appends them to the log in
Redis, and only then sends them to anybody. What arrives during a round is merged in the next one,
so that a busy room costs one append and one frame per socket and round, not per keystroke.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from realtime.documents import protocol
from realtime.documents.audience import Audience, Member
from realtime.documents.inbox import Change, Edit, Inbox, Item, Left, Received
from realtime.documents.journal import Journal
from realtime.documents.live import ApplyFailed, LiveText, merged
from realtime.documents.presence import Owner, Presence
from realtime.documents.protocol import Entry, Frame, Kind
from realtime.documents.rights import Rights
from realtime.domain import close_codes
from realtime.errors import DocumentForbidden, DocumentNotFound, DocumentUnavailable, RealtimeError
from realtime.store import documents as store
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)

SHORTEST_PAUSE: Final = 0.002
LONGEST_PAUSE: Final = 0.05
HOUSEKEEPING_SECONDS: Final = 5.0
ASK_AGAIN_SECONDS: Final = 1.0
DEMOTED = "You may read this document, but not change it any more."
REFUSED = "You may read this document but not change it: the change was not taken."
TOO_LARGE = "The document would become too large: the change was not taken, and is still with you."


@dataclass(slots=True)
class _Round:
    """What one round has gathered, to be sent when the log has it."""

    before: bytes  # the state vector that the members have
    updates: list[bytes] = field(default_factory=list)  # applied, not in the log yet
    writers: dict[Member, None] = field(default_factory=dict)
    asked: list[tuple[Member, bytes]] = field(default_factory=list)  # state vectors
    queried: list[Member] = field(default_factory=list)
    told: list[Entry] = field(default_factory=list)  # presences of here
    heard: list[Entry] = field(default_factory=list)  # and of elsewhere
    edits: list[Edit] = field(default_factory=list)


class Room:
    """One document in one process, from its first member to its last."""

    def __init__(self, document_id: str) -> None:
        self.document_id = document_id
        self.instance = secrets.token_hex(8)
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._audience = Audience(self._wake.set)
        self._journal = Journal(document_id, self.instance)
        self._presence = Presence()
        self._rights = Rights(document_id)
        self._new: list[Member] = []  # loaded, not greeted yet
        self._inbox = Inbox()
        self._elsewhere: list[dict[str, Any]] = []  # presences told by other processes
        self._is_asked = False  # another process wants to know who is here
        self._asked_again_at = float("-inf")
        self._pause = SHORTEST_PAUSE
        self._loaded: asyncio.Future[None] = self._loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._code: int | None = None  # why it ends, or has ended

    # --- for members -----------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        return not self._audience

    @property
    def is_over(self) -> bool:
        """Whether it has ended before its members left: who comes now needs another one."""
        return self._code is not None

    async def join(self, member: Member) -> None:
        """Add a member; returns when the document is loaded.

        Raises DocumentNotFound or DocumentUnavailable; `leave` must be called all the same.
        """
        self._audience.add(member)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"signalbox-room-{self.document_id}")
        # One load for all; whoever gives up waiting does not end it for the others.
        await asyncio.shield(self._loaded)
        self._new.append(member)
        self._wake.set()

    async def put(self, member: Member, frame: Frame) -> None:
        """Hand in a frame, in order; waits while too much is waiting."""
        await self._inbox.put(Received(member, frame))
        self._wake.set()

    async def edit(self, change: Change, member: Member) -> None:
        """Change the document by our own code; returns when the log has the change.

        Raises what `change` raises, DocumentNotFound, DocumentForbidden, DocumentUnavailable.
        """
        edit = Edit(member, change, self._loop.create_future())
        await self._inbox.put(edit)
        if self._code is not None:
            raise self._failure()
        self._wake.set()
        await edit.done

    @property
    def live(self) -> LiveText:
        """The document, to be looked at, not changed, and not across an await."""
        return self._journal.live

    def leave(self, member: Member) -> None:
        """Take a member out; its presences are ended for the others."""
        self._audience.discard(member)
        self._inbox.put_now(Left(member))
        self._wake.set()

    def rights_changed(self) -> None:
        """Look at the members' rights again, now."""
        self._rights.forget()
        self._wake.set()

    @property
    def is_full(self) -> bool:
        """Whether who hands something in has to wait."""
        return self._inbox.is_full

    async def finished(self) -> None:
        """Wait until everything that was handed in is in the log, once the last has left."""
        if self._task is not None:
            await asyncio.wait([self._task])

    # --- the rounds ------------------------------------------------------------------------------

    async def _run(self) -> None:
        code = close_codes.TRY_LATER
        try:
            async with store.listen(self.document_id, self._heard):
                await self._journal.load()
                self._loaded.set_result(None)
                await self._publish(None)
                await self._go_on()
            code = self._code or code
        except DocumentNotFound:
            code = close_codes.NOT_FOUND
        except (StoreUnavailable, DocumentUnavailable) as error:
            log.warning("room_unavailable document_id=%s error=%r", self.document_id, error)
        except Exception:  # the room's edge: whatever it was, its members must not wait for ever
            log.exception("room_failed document_id=%s", self.document_id)
            code = close_codes.INTERNAL_ERROR
        finally:
            self._end(code)

    async def _go_on(self) -> None:
        while (self._audience or self._inbox) and self._code is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOUSEKEEPING_SECONDS):
                    await self._wake.wait()
            if self._audience:
                await asyncio.sleep(self._pause)
            self._wake.clear()
            started_at = self._loop.time()
            await self._round()
            # Half of the time is everybody else's, however busy the room is.
            worked = self._loop.time() - started_at
            self._pause = min(max(worked, SHORTEST_PAUSE), LONGEST_PAUSE)
        await self._journal.tend(is_last=True)

    async def _round(self) -> None:
        if self._rights.is_forgotten:
            await self._look_at_everybody()
        this = _Round(self._journal.live.state)
        items = self._inbox.take()
        await self._know_rights(items)
        self._greet()
        for item in items:
            await self._handle(this, item)
        self._hear(this)
        await self._log(this)
        await self._tell(this)
        for member, state in this.asked:
            if member in self._audience:
                self._audience.answer(member, state, self._journal.live)
        for member in this.queried:
            self._audience.show_presence(member, protocol.presence(self._presence.entries))
        self._audience.catch_up(self._journal.live, self._presence)
        self._ask_again(this)
        seconds = await self._journal.tend()
        if seconds is not None:
            self._loop.call_later(seconds, self._wake.set)
        if self._inbox or self._journal.is_behind:
            self._wake.set()

    async def _know_rights(self, items: list[Item]) -> None:
        writers = {
            item.member.user_id
            for item in items
            if isinstance(item, Edit)
            or (isinstance(item, Received) and item.frame.kind is Kind.UPDATE)
        }
        users = writers | {member.user_id for member in self._new}
        if not await self._rights.know(user_id for user_id in users if user_id is not None):
            raise DocumentNotFound

    async def _handle(self, this: _Round, item: Item) -> None:
        if isinstance(item, Left):
            this.told += self._presence.leave(item.member, self._loop.time())
        elif isinstance(item, Edit):
            self._edit(this, item)
        elif item.member in self._audience:
            await self._receive(this, item.member, item.frame)

    async def _receive(self, this: _Round, member: Member, frame: Frame) -> None:
        if frame.kind is Kind.UPDATE:
            await self._apply(this, member, frame.body)
        elif frame.kind is Kind.MISSING:
            this.asked.append((member, frame.body))
        elif frame.kind is Kind.QUERY:
            this.queried.append(member)
        elif frame.kind is Kind.PRESENCE:
            owner = Owner(member.user_id or "", member)
            news, answers = self._presence.take(owner, frame.entries, self._loop.time())
            this.told += news
            if answers:
                self._audience.show_presence(member, protocol.presence(answers))

    async def _apply(self, this: _Round, member: Member, update: bytes) -> None:
        if update == protocol.EMPTY_UPDATE:
            return
        if not self._rights.may_write(member.user_id):
            member.offer(protocol.denied(REFUSED))
            return
        try:
            if await self._journal.is_too_large(update):
                member.offer(protocol.denied(TOO_LARGE))
                self._dismiss(member, close_codes.DOCUMENT_TOO_LARGE)
            elif self._journal.live.apply(update):
                this.updates.append(update)
                this.writers[member] = None
        except ApplyFailed as error:
            log.warning(
                "update_refused document_id=%s user_id=%s error=%s",
                self.document_id, member.user_id, error,
            )  # fmt: skip
            self._dismiss(member, close_codes.MALFORMED)
            await self._journal.restore(this.updates, this.before)

    def _edit(self, this: _Round, edit: Edit) -> None:
        if edit.done.done():  # who asked for it has given up
            return
        if not self._rights.may_write(edit.member.user_id):
            edit.fail(DocumentForbidden())
            return
        try:
            update = edit.change(self._journal.live)
        except Exception as error:  # noqa: BLE001 whatever it is, it belongs to who asked
            edit.fail(error)
            return
        if update != protocol.EMPTY_UPDATE:
            this.updates.append(update)
        this.edits.append(edit)

    async def _log(self, this: _Round) -> None:
        """Append what was applied; then, and not before, it goes to the members."""
        try:
            news = await self._journal.append(this.updates)
        except BaseException as error:
            for edit in this.edits:
                edit.fail(DocumentUnavailable(str(error)))
            raise
        for edit in this.edits:
            edit.succeed()
        if news:
            self._audience.send_update(merged(news), this.before)

    def _dismiss(self, member: Member, code: int) -> None:
        self._audience.discard(member)  # what it has sent besides is not looked at
        member.close(code)

    # --- presence --------------------------------------------------------------------------------

    async def _tell(self, this: _Round) -> None:
        """Send the presences that changed to the members, and those of here to other processes."""
        this.heard += self._presence.expire(self._loop.time())
        entries = {entry.client: entry for entry in this.heard + this.told}
        if entries:
            self._audience.send_presence(protocol.presence(list(entries.values())))
        if not this.told and not self._is_asked:
            return
        here = self._presence.of(self._audience)
        told = {entry.client for entry in this.told}
        rows = [[*e, user] for e, user in here if self._is_asked or e.client in told]
        rows += [[*entry, ""] for entry in this.told if entry.is_gone]
        self._is_asked = False
        if rows:
            await self._publish(rows)

    async def _publish(self, presences: list[list[Any]] | None) -> None:
        # Clients repeat their presence every 15 seconds: what is lost comes again.
        with contextlib.suppress(StoreUnavailable):
            await store.publish(self.document_id, self.instance, presence=presences)

    def _heard(self, message: str | None) -> None:
        if message is None:  # some were missed
            self._journal.missed_some()
            self._is_asked = True
        else:
            data = json.loads(message)
            if data.get("deleted"):
                self._code = close_codes.NOT_FOUND
            elif data["from"] == self.instance:
                return
            elif "at" in data:
                self._journal.heard_of(data["at"])
            elif data["presence"] is None:
                self._is_asked = True
            else:
                self._elsewhere.append(data)
        self._wake.set()

    def _hear(self, this: _Round) -> None:
        messages, self._elsewhere = self._elsewhere, []
        for message in messages:
            for client, clock, state, user_id in message["presence"]:
                owner = Owner(user_id, (message["from"], client))
                entry = Entry(client, clock, state)
                this.heard += self._presence.take(owner, [entry], self._loop.time())[0]

    # --- members come, lose or get rights ---------------------------------------------------------

    def _greet(self) -> None:
        new, self._new = self._new, []
        for member in new:
            if member not in self._audience:
                continue
            # Who may not write is not asked for anything.
            if self._rights.may_write(member.user_id):
                member.offer(protocol.step_1(self._journal.live.state))
            if entries := self._presence.entries:
                self._audience.show_presence(member, protocol.presence(entries))

    async def _look_at_everybody(self) -> None:
        users = self._audience.user_ids
        could = {user_id for user_id in users if self._rights.may_write(user_id)}
        if not await self._rights.know(users):
            raise DocumentNotFound
        self._rights.keep(users)
        for member in self._audience:
            if not self._rights.may_read(member.user_id):
                self._dismiss(member, close_codes.FORBIDDEN)
                continue
            may_write, could_write = self._rights.may_write(member.user_id), member.user_id in could
            if may_write and not could_write:
                # What was refused before is sent now.
                member.offer(protocol.step_1(self._journal.live.state))
            elif could_write and not may_write:
                member.offer(protocol.denied(DEMOTED))  # before something is written in vain

    def _ask_again(self, this: _Round) -> None:
        """Ask for what is missing: an update came whose predecessors were refused, or got lost."""
        now = self._loop.time()
        if not self._journal.live.is_waiting or now < self._asked_again_at + ASK_AGAIN_SECONDS:
            return
        self._asked_again_at = now
        for member in this.writers:
            member.offer(protocol.step_1(self._journal.live.state))

    # --- the end ---------------------------------------------------------------------------------

    def _end(self, code: int) -> None:
        self._code = code
        failure = self._failure()
        if not self._loaded.done():
            self._loaded.set_exception(failure)
            self._loaded.exception()  # perhaps nobody waits for it
        self._inbox.close(failure)
        for member in self._audience:
            member.close(code)

    def _failure(self) -> RealtimeError:
        is_gone = self._code == close_codes.NOT_FOUND
        return DocumentNotFound() if is_gone else DocumentUnavailable()
