"""The room by itself, with members that remember: loading, rounds, who does not keep up, limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from realtime import edit_document
from realtime.documents import journal, protocol
from realtime.documents.audience import Member
from realtime.documents.live import ApplyFailed, LiveText
from realtime.documents.protocol import Entry, Frame, Kind
from realtime.documents.room import REFUSED, Room
from realtime.documents.rooms import rooms
from realtime.documents.saving import save
from realtime.domain import close_codes
from realtime.errors import DocumentNotFound, DocumentUnavailable
from realtime.models import Document, DocumentAccess
from realtime.store import documents as store
from tasks_app.errors import StoreUnavailable
from tests.realtime.documents.editor import Editor
from tests.realtime.documents.test_saving import updates_of
from tests.support.eventually import eventually

pytestmark = pytest.mark.django_db(transaction=True)


class Recorder:
    """A member that keeps its frames, and reads only while it is told to."""

    def __init__(self, user_id: str | None = None) -> None:
        self.user_id = user_id
        self.frames: list[bytes] = []
        self.codes: list[int] = []
        self.editor = Editor()
        self._is_reading = True
        self._callbacks: list[Callable[[], None]] = []

    def offer(self, frame: bytes) -> bool:
        if self._is_reading:
            self.frames.append(frame)
        return self._is_reading

    def when_free(self, callback: Callable[[], None]) -> None:
        if self._is_reading:
            callback()
        else:
            self._callbacks.append(callback)

    def close(self, code: int) -> None:
        self.codes.append(code)

    def stop_reading(self) -> None:
        self._is_reading = False

    def read_on(self) -> None:
        self._is_reading = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    @property
    def text(self) -> str:
        """The text that the frames so far make."""
        updates = [f for f in self.frames if f[0] == protocol.SYNC and f[1] != protocol.STEP_1]
        return LiveText([protocol.parse(frame, "ann").body for frame in updates]).text

    @property
    def denials(self) -> list[bytes]:
        return [frame for frame in self.frames if frame[0] == protocol.AUTH]

    async def reads(self, text: str) -> None:
        async def same() -> bool:
            return self.text == text

        await eventually(same, within=10)


def update(data: bytes) -> Frame:
    return Frame(Kind.UPDATE, data)


ASK = Frame(Kind.MISSING, b"\0")


@pytest.fixture
async def document(engine: None) -> AsyncIterator[Document]:
    owner = await User.objects.acreate(username="owner")
    yield await Document.objects.acreate(id="notes", content="", owner=owner)
    async with asyncio.timeout(15):
        await rooms().finished()


async def test_one_load_serves_all_and_nothing_is_sent_before_it(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []
    gate = asyncio.Event()
    load = journal.Journal.load

    async def slow(self: journal.Journal) -> None:
        loads.append(1)
        await gate.wait()
        await load(self)

    monkeypatch.setattr(journal.Journal, "load", slow)
    members = [Recorder() for _ in range(5)]
    room = Room("notes")
    joining = [asyncio.create_task(room.join(member)) for member in members]
    await asyncio.sleep(0.05)
    joining.pop().cancel()  # one gives up: the others are not disturbed
    assert not any(member.frames for member in members)
    gate.set()
    await asyncio.gather(*joining)
    await room.put(members[0], update(updates_of("hello")[0]))
    await members[3].reads("hello")
    assert len(loads) == 1
    assert members[0].frames[0] == protocol.step_1(b"\0")
    for member in members:
        room.leave(member)
    await room.finished()


async def test_what_cannot_be_loaded_is_said_and_forgotten(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise StoreUnavailable

    with pytest.raises(DocumentNotFound):
        async with rooms().joined("nothing", Recorder()):
            pass
    monkeypatch.setattr(store, "read", away)
    with pytest.raises(DocumentUnavailable):
        async with rooms().joined("notes", Recorder()):
            pass
    monkeypatch.undo()
    async with rooms().joined("notes", Recorder()):
        assert rooms().open_documents == ["notes"]
    assert rooms().open_documents == []


async def test_an_update_is_in_the_log_before_anybody_gets_it(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, other, late = Recorder(), Recorder(), Recorder()
    append, gate = store.append, asyncio.Event()

    async def slow(*args: Any, **kwargs: Any) -> Any:
        await gate.wait()
        return await append(*args, **kwargs)

    async with rooms().joined("notes", writer) as room, rooms().joined("notes", other):
        monkeypatch.setattr(store, "append", slow)
        await room.put(writer, update(updates_of("secret")[0]))
        async with rooms().joined("notes", late):
            await room.put(late, ASK)
            await asyncio.sleep(0.1)
            assert not other.text
            assert not late.text
            gate.set()
            await other.reads("secret")
            await late.reads("secret")


async def test_a_member_that_does_not_read_is_brought_up_to_date_later(
    document: Document,
) -> None:
    writer, slow = Recorder(), Recorder()
    pieces = [f"{number} " for number in range(50)]
    async with rooms().joined("notes", writer) as room, rooms().joined("notes", slow):
        await eventually(lambda: greeted(slow), within=5)
        slow.stop_reading()
        for piece in updates_of(*pieces):
            await room.put(writer, update(piece))
        await room.put(writer, Frame(Kind.PRESENCE, entries=(Entry(7, 1, "{}"),)))
        await writer.reads("".join(pieces))
        before = len(slow.frames)
        slow.read_on()
        await slow.reads("".join(pieces))
        await eventually(lambda: count(slow, before + 2), within=5)
        assert len(slow.frames) == before + 2  # one for all changes, one for all presences
        assert slow.frames[-1] == protocol.presence([Entry(7, 1, "{}")])


async def greeted(member: Recorder) -> bool:
    return bool(member.frames)


async def count(member: Recorder, number: int) -> bool:
    return len(member.frames) >= number


async def test_what_arrives_during_a_round_is_one_append_and_one_frame(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = Recorder(), Recorder()
    appends: list[int] = []
    append = store.append

    async def counted(*args: Any, **kwargs: Any) -> Any:
        appends.append(1)
        return await append(*args, **kwargs)

    async with rooms().joined("notes", writer) as room, rooms().joined("notes", reader):
        await eventually(lambda: greeted(reader), within=5)
        await edit_document("notes", "begun ")  # there is a log now
        await reader.reads("begun ")
        monkeypatch.setattr(store, "append", counted)
        pieces = [str(number) for number in range(200)]
        before = len(reader.frames)
        for piece in updates_of(*pieces):
            await room.put(writer, update(piece))
        await eventually(lambda: ends_with(reader, pieces[-1]), within=5)
        assert len(appends) == len(reader.frames) - before < 20


async def test_over_the_limit_the_client_is_told_and_the_state_unharmed(
    document: Document, settings: Any
) -> None:
    settings.DOCUMENT_MAX_BYTES = 2000
    writer, other = Recorder(), Recorder()
    first, second = updates_of("a" * 900, "b" * 1500)
    async with rooms().joined("notes", writer) as room, rooms().joined("notes", other):
        await room.put(writer, update(first))
        await room.put(writer, update(second))
        await room.put(writer, update(updates_of("after")[0]))
        await eventually(lambda: closed(writer), within=5)
        assert writer.codes == [close_codes.DOCUMENT_TOO_LARGE]
        assert b"too large" in writer.denials[0]
        await other.reads("a" * 900)
        # Deleting is possible at the limit: what counts is the state, not what was sent.
        editor = Editor()
        editor.doc.apply_update(first)
        for _ in range(20):
            before = editor.doc.get_state()
            del editor.text[0:40]
            editor.type("c" * 39)
            await room.put(other, update(editor.doc.get_update(before)))
        await other.reads(str(editor.text))


async def ends_with(member: Recorder, piece: str) -> bool:
    return piece in member.text


async def closed(member: Recorder) -> list[int]:
    return member.codes


async def test_an_update_that_cannot_be_applied_closes_its_sender_alone(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good, reader = Recorder(), Recorder(), Recorder()
    poison, harmless = updates_of("poison")[0], updates_of("harmless")[0]
    apply = LiveText.apply

    def spoilt(self: LiveText, data: bytes) -> bool:
        if data == poison:
            apply(self, data)
            raise ApplyFailed("pycrdt panicked")
        return apply(self, data)

    async with (
        rooms().joined("notes", good) as room,
        rooms().joined("notes", bad),
        rooms().joined("notes", reader),
    ):
        monkeypatch.setattr(LiveText, "apply", spoilt)
        await room.put(good, update(harmless))
        await room.put(bad, update(poison))
        await reader.reads("harmless")
        await eventually(lambda: closed(bad), within=5)
        assert bad.codes == [close_codes.MALFORMED]
        assert not good.codes
        assert room.live.text == "harmless"
    await rooms().finished()
    assert (await save("notes")).content == "harmless"


async def test_redis_away_for_a_moment_disturbs_nobody_and_for_long_ends_the_room(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, other = Recorder(), Recorder()
    append, failures = store.append, []

    async def away(*args: Any, **kwargs: Any) -> Any:
        failures.append(1)
        if len(failures) < 4:
            raise StoreUnavailable
        return await append(*args, **kwargs)

    async def gone(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable

    async with rooms().joined("notes", writer) as room, rooms().joined("notes", other):
        monkeypatch.setattr(store, "append", away)
        await room.put(writer, update(updates_of("here")[0]))
        await other.reads("here")
        assert not writer.codes
        monkeypatch.setattr(store, "append", gone)
        monkeypatch.setattr(journal, "PATIENCE_SECONDS", 0.2)
        await room.put(writer, update(updates_of("gone")[0]))
        await eventually(lambda: closed(other), within=5)
        assert writer.codes == other.codes == [close_codes.TRY_LATER]
        assert other.text == "here"  # nobody was told what is in no log
        monkeypatch.undo()
        async with rooms().joined("notes", Recorder()) as another:
            assert another is not room
            assert another.live.text == "here"


async def test_rights_are_those_of_the_moment(document: Document) -> None:
    user = await User.objects.acreate(username="guest")
    granted = await DocumentAccess.objects.acreate(document=document, user=user, permission="write")
    guest, other = Recorder(str(user.pk)), Recorder()
    first, second, third = updates_of("1", "2", "3")
    async with rooms().joined("notes", guest) as room, rooms().joined("notes", other):
        await room.put(guest, update(first))
        await other.reads("1")
        await DocumentAccess.objects.filter(pk=granted.pk).aupdate(permission="read")
        room.rights_changed()
        await room.put(guest, update(second))
        await eventually(lambda: refused(guest), within=5)
        assert (other.text, room.live.text) == ("1", "1")
        await DocumentAccess.objects.filter(pk=granted.pk).aupdate(permission="write")
        asked = guest.frames.count(protocol.step_1(room.live.state))
        room.rights_changed()
        await eventually(lambda: asked_again(guest, room, asked), within=5)
        await room.put(guest, update(third))
        await room.put(guest, update(second))
        await other.reads("123")
        await granted.adelete()
        room.rights_changed()
        await eventually(lambda: closed(guest), within=5)
        assert guest.codes == [close_codes.FORBIDDEN]


async def refused(member: Recorder) -> bool:
    return protocol.denied(REFUSED) in member.denials


async def asked_again(member: Recorder, room: Room, before: int) -> bool:
    return member.frames.count(protocol.step_1(room.live.state)) > before


def test_a_recorder_is_a_member() -> None:
    member: Member = Recorder()
    assert member.offer(b"")
