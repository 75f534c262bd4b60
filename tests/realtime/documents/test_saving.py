"""From the log to the database: saves, compaction, restarts of Redis, nothing lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import OperationalError
from pycrdt import Doc, Text

from realtime import edit_document
from realtime.documents import journal, saved, saving
from realtime.documents.live import LiveText, merged
from realtime.documents.reading import live_text
from realtime.documents.rooms import rooms
from realtime.documents.saving import save, save_forgotten
from realtime.documents.writing import writing
from realtime.errors import DocumentForbidden, DocumentNotFound, DocumentTooLarge
from realtime.models import Document, DocumentAccess, DocumentVersion
from realtime.store import document_keys
from realtime.store import documents as store
from realtime.store.documents import Log
from tasks_app.store import client
from tasks_app.store.scripts import Call
from tasks_app.worker.worker import Worker
from tests.support.eventually import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def document(engine: None) -> AsyncIterator[Document]:
    owner = await User.objects.acreate(username="owner")
    yield await Document.objects.acreate(id="notes", content="Hello", owner=owner)
    async with asyncio.timeout(15):
        await rooms().finished()


async def row() -> Document:
    return await Document.objects.aget(pk="notes")


async def keys() -> list[str]:
    pattern = document_keys.document("notes") + "*"
    return await client.arun(Call(list[str], ("KEYS", pattern.replace("{", "\\{"))))


def updates_of(*texts: str) -> list[bytes]:
    """Return the updates of one who types these texts one after the other."""
    doc: Doc[Any] = Doc()
    text = doc.get("content", type=Text)
    found: list[bytes] = []
    subscription = doc.observe(lambda event: found.append(event.update))
    for piece in texts:
        text.insert(len(text), piece)
    doc.unobserve(subscription)
    return found


async def put(update: bytes) -> str:
    """Append an update as a room would that has just been loaded."""
    found = await store.read("notes")
    position = found.last if isinstance(found, Log) else "0-0"
    answer = await store.append("notes", update, position=position, sender="test", floor=position)
    assert isinstance(answer, store.Appended)
    return answer.id


# --- saving --------------------------------------------------------------------------------------


async def test_the_server_seeds_a_document_from_its_text(document: Document) -> None:
    assert await edit_document("notes", lambda text: text + " world") == "Hello world"
    assert (await save("notes")).content == "Hello world"
    assert (await row()).version == 2


async def test_two_processes_seed_the_same_document(document: Document) -> None:
    one = LiveText([saved.Saved(content="Hello", state=b"", sid="0-0", version=1).update])
    other = LiveText([saved.Saved(content="Hello", state=b"", sid="0-0", version=1).update])
    one.apply(other.missing())
    assert one.text == "Hello"


async def test_a_debounced_task_saves_and_the_keys_go(document: Document, worker: Worker) -> None:
    await edit_document("notes", "Hello there")

    async def is_saved() -> bool:
        return (await row()).content == "Hello there"

    await eventually(is_saved, within=15)
    found = await store.read("notes")
    assert isinstance(found, Log)
    assert not found.updates
    ttl = await client.arun(Call(int, ("PTTL", document_keys.document("notes") + ":head")))
    assert 0 < ttl <= store.LINGER_MS


async def test_nothing_is_written_when_nothing_changed(document: Document) -> None:
    await edit_document("notes", "Hello there")
    first = await save("notes")
    again = await save("notes")
    assert again.version == first.version == 2
    # The same update once more: appended by somebody who had missed an answer.
    await put(first.state)
    assert (await save("notes")).version == 2
    found = await store.read("notes")
    assert isinstance(found, Log)
    assert not found.updates


async def test_text_state_and_version_are_written_together(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    await edit_document("notes", "Hello there")

    def fail(**_: Any) -> None:
        raise OperationalError("the disk is full")

    monkeypatch.setattr(DocumentVersion.objects, "create", fail)
    with pytest.raises(OperationalError):
        await save("notes")
    monkeypatch.undo()
    found = await row()
    assert (found.content, found.version, bytes(found.state)) == ("Hello", 1, b"")
    assert (await save("notes")).content == "Hello there"


async def test_a_save_is_tried_again_while_the_database_is_away(
    document: Document, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failures = saved.write, []

    def locked(*args: Any) -> bool:
        if len(failures) < 3:
            failures.append(1)
            raise OperationalError("database is locked")
        return write(*args)

    monkeypatch.setattr(saved, "write", locked)
    await edit_document("notes", "patient")

    async def is_saved() -> bool:
        return (await row()).content == "patient"

    await eventually(is_saved, within=30)
    assert len(failures) == 3


async def test_of_two_saves_at_once_one_wins_and_both_are_right(document: Document) -> None:
    for number in range(10):
        await edit_document("notes", f"round {number}")
        done = await asyncio.gather(*(save("notes") for _ in range(3)))
        assert {one.content for one in done} == {f"round {number}"}
    assert (await row()).version == 11


async def test_an_edit_during_a_save_is_not_trimmed(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    await edit_document("notes", "first")
    in_database = saving.in_database

    async def interrupted(function: Any, *args: Any) -> Any:
        result = await in_database(function, *args)
        if function is saved.write:
            monkeypatch.undo()
            await edit_document("notes", lambda text: text + " second")
        return result

    monkeypatch.setattr(saving, "in_database", interrupted)
    assert (await save("notes")).content == "first"
    assert await live_text("notes") == "first second"
    assert (await save("notes")).content == "first second"


async def test_deleting_everything_is_saved_and_an_unreadable_state_saves_nothing(
    document: Document,
) -> None:
    await edit_document("notes", "")
    assert (await save("notes")).content == ""
    await edit_document("notes", "again")
    await save("notes")
    await Document.objects.filter(pk="notes").aupdate(state=b"\xff\xff")
    await put(updates_of("x")[0])
    with pytest.raises(Exception, match=r"decode|update"):
        await save("notes")
    assert (await row()).content == "again"


async def test_what_a_dead_process_left_is_found(document: Document, worker: Worker) -> None:
    await store.note_unsaved("notes")
    await put(updates_of(" left behind")[0])
    assert await save_forgotten() == 1

    async def is_saved() -> bool:
        return "left behind" in (await row()).content

    await eventually(is_saved, within=15)


async def test_a_save_of_a_deleted_document_removes_its_log(document: Document) -> None:
    await put(updates_of("orphan")[0])
    await Document.objects.filter(pk="notes").adelete()
    await put(updates_of("orphan")[0])
    with pytest.raises(DocumentNotFound):
        await save("notes")
    assert not await keys()


# --- updates that wait for others ----------------------------------------------------------------


async def test_an_update_without_its_predecessor_survives_save_compaction_and_restart(
    document: Document,
) -> None:
    await Document.objects.filter(pk="notes").aupdate(content="")
    first, second = updates_of("first ", "second")
    await put(second)
    kept = await save("notes")
    assert kept.content == ""
    found = await store.read("notes")
    assert isinstance(found, Log)
    assert found.updates == [second]  # not trimmed: who sent it may send the first one too
    await put(second)
    found = await store.read("notes")
    assert isinstance(found, Log)
    assert await store.compact("notes", found, merged(found.updates))
    await put(first)
    assert (await save("notes")).content == "first second"
    found = await store.read("notes")
    assert isinstance(found, Log)
    assert not found.updates


async def test_an_update_that_waits_for_ever_is_kept_in_the_database(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Document.objects.filter(pk="notes").aupdate(content="")
    first, second = updates_of("first ", "second")
    await put(second)
    monkeypatch.setattr(saving, "IDLE_SECONDS", -1.0)
    await save("notes")
    found = await store.read("notes")
    assert isinstance(found, Log)
    assert not found.updates
    await put(first)
    assert (await save("notes")).content == "first second"


# --- the log -------------------------------------------------------------------------------------


async def test_compaction_never_loses_a_concurrent_append(document: Document) -> None:
    pieces = [f"{number} " for number in range(60)]
    updates = updates_of(*pieces)
    for update in updates[:30]:
        await put(update)
    found = await store.read("notes")
    assert isinstance(found, Log)
    await put(updates[30])
    assert await store.compact("notes", found, merged(found.updates))
    assert not await store.compact("notes", found, merged(found.updates))  # outdated
    for update in updates[31:]:
        await put(update)
    found = await store.read("notes")
    assert isinstance(found, Log)
    assert len(found.updates) == 31
    assert LiveText(found.updates).text == "".join(pieces)
    assert (await save("notes")).content.endswith("".join(pieces))
    assert await keys() == [document_keys.document("notes") + ":head"]


async def test_a_room_compacts_a_long_log(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.documents.journal.COMPACT_ENTRIES", 10)
    async with writing("notes", name="Test") as writer:
        for number in range(40):
            await writer.write(f" {number}")
    await rooms().finished()
    found = await store.read("notes")
    assert isinstance(found, Log)
    assert found.snapshot
    assert len(found.updates) < 15
    assert (await save("notes")).content == "Hello" + "".join(f" {n}" for n in range(40))


async def test_a_room_that_missed_entries_reads_them(document: Document) -> None:
    async with writing("notes", name="Test") as writer:
        await writer.write("!")
        # Behind the room's back, without a message: it sees the gap at its next append.
        await put(updates_of(" elsewhere")[0])
        await save("notes")
        await writer.write("?")
        assert " elsewhere" in writer.text
    await rooms().finished()
    assert "Hello!?" in (await save("notes")).content


async def test_what_redis_lost_is_restored_from_an_open_room(document: Document) -> None:
    async with writing("notes", name="Test") as writer:
        await writer.write(" kept")
        await client.arun(Call(int, ("DEL", *await keys())))
        await writer.write(" on")
    await rooms().finished()
    assert (await save("notes")).content == "Hello kept on"


async def test_after_everything_was_saved_and_expired_a_room_goes_on(document: Document) -> None:
    async with writing("notes", name="Test") as writer:
        await writer.write(" one")
        await save("notes")
        await client.arun(Call(int, ("DEL", *await keys())))
        await writer.write(" two")
        found = await store.read("notes")
        assert isinstance(found, Log)
        assert len(found.updates) == 1
    await rooms().finished()
    assert (await save("notes")).content == "Hello one two"


async def test_ids_grow_although_the_clock_was_set_back(document: Document) -> None:
    tomorrow = "99999999999999-7"
    await Document.objects.filter(pk="notes").aupdate(sid=tomorrow)
    await edit_document("notes", "Hello again")
    found = await store.read("notes")
    assert isinstance(found, Log)
    assert store.is_before(tomorrow, found.last)
    assert (await save("notes")).content == "Hello again"


async def test_ids_grow_although_redis_is_older_than_the_database(document: Document) -> None:
    await put(updates_of(" before")[0])  # a replica that was promoted has no more than this
    tomorrow = "99999999999999-7"
    await Document.objects.filter(pk="notes").aupdate(sid=tomorrow)
    await edit_document("notes", "Hello again")
    assert (await save("notes")).content == "Hello again"


async def test_what_redis_lost_is_restored_although_another_room_was_faster(
    document: Document,
) -> None:
    async with writing("notes", name="Test") as writer:
        await writer.write(" first")
        before = await store.read("notes")
        assert isinstance(before, Log)
        await writer.write(" lost")
        # As on a replica that was promoted without the last entry.
        name = document_keys.document("notes")
        lost = await store.read("notes", before.last)
        assert isinstance(lost, Log)
        await client.arun(Call(int, ("XDEL", name + ":log", lost.last)))
        await client.arun(Call(int, ("HSET", name + ":head", "last", before.last)))
        await put(updates_of("faster ")[0])
        [room] = rooms()._rooms.values()
        room._heard(None)
        await eventually(lambda: is_live("faster ", " first lost"), within=10)
    await rooms().finished()
    assert " lost" in (await save("notes")).content


async def is_live(*parts: str) -> bool:
    text = await live_text("notes")
    return all(part in text for part in parts)


async def test_without_the_database_editing_goes_on_although_the_log_has_gone(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> Any:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(journal, "COMPARE_AGAIN_SECONDS", 0.1)
    async with writing("notes", name="Test") as writer:
        await writer.write(" one")
        await put(updates_of("elsewhere ")[0])  # nobody is told
        await save("notes")
        await client.arun(Call(int, ("DEL", *await keys())))  # as after 15 seconds
        with monkeypatch.context() as outage:
            outage.setattr(saved, "read", away)
            await writer.write(" two")
            await writer.write(" three")
        await writer.write(" four")
        await eventually(lambda: is_live("elsewhere "), within=10)

        async def has_seen_it() -> bool:
            return "elsewhere " in writer.text

        await eventually(has_seen_it, within=10)
    await rooms().finished()
    content = (await save("notes")).content
    assert content.replace("elsewhere ", "") == "Hello one two three four"


# --- edits by our own code -----------------------------------------------------------------------


async def test_edits_at_once_are_all_there(document: Document) -> None:
    words = [f"w{number} " for number in range(20)]
    await asyncio.gather(*(edit_document("notes", add(word)) for word in words))
    text = await live_text("notes")
    assert sorted(text.removeprefix("Hello").split()) == sorted(word.strip() for word in words)


def add(word: str) -> Any:
    return lambda text: text + word


async def test_an_edit_that_fails_changes_nothing(document: Document) -> None:
    def fail(_: str) -> str:
        raise LookupError("no idea")

    with pytest.raises(LookupError):
        await edit_document("notes", fail)
    with pytest.raises(DocumentNotFound):
        await edit_document("nothing", "x")
    with pytest.raises(TypeError):
        await edit_document("notes", lambda _: 5)  # type: ignore[arg-type,return-value]
    assert await live_text("notes") == "Hello"
    assert not rooms().open_documents


async def test_a_user_who_may_not_write_is_refused(document: Document) -> None:
    reader = await User.objects.acreate(username="reader")
    await DocumentAccess.objects.acreate(document=document, user=reader, permission="read")
    with pytest.raises(DocumentForbidden):
        await edit_document("notes", "mine now", user_id=str(reader.pk))
    with pytest.raises(DocumentForbidden):
        await edit_document("notes", "mine now", user_id="999999")
    await edit_document("notes", "his", user_id=str(document.owner_id))


async def test_who_may_not_write_is_not_shown_the_document_by_a_task_tried_again(
    document: Document,
) -> None:
    stranger = await User.objects.acreate(username="stranger")
    shown: list[str] = []
    with pytest.raises(DocumentForbidden):
        async with writing("notes", name="AI", user_id=str(stranger.pk)) as writer:
            shown.append(writer.text)
    assert shown == []


async def test_a_document_does_not_outgrow_its_limit(document: Document, settings: Any) -> None:
    settings.DOCUMENT_MAX_BYTES = 20_000
    with pytest.raises(DocumentTooLarge):
        await edit_document("notes", "x" * 20_000)
    for number in range(30):  # much is written, and deleted again: the limit is on the state
        await edit_document("notes", "yz"[number % 2] * 4_500)
    assert len(await live_text("notes")) > 3_000


async def test_versions_are_kept_by_number(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "VERSIONS_KEPT", 3)
    for number in range(6):
        await edit_document("notes", f"text {number}")
        await save("notes")
    kept = await sync_to_async(list)(
        DocumentVersion.objects.order_by("version").values_list("version", "content")
    )
    assert kept == [(5, "text 3"), (6, "text 4"), (7, "text 5")]
