"""Documents on one server, with Sentinels and on a Cluster: edited, saved, and nothing left."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from realtime import edit_document
from realtime.documents.rooms import rooms
from realtime.documents.saving import save, save_forgotten
from realtime.documents.writing import writing
from realtime.models import Document
from realtime.store import documents as store
from realtime.store.documents import Log

pytestmark = [pytest.mark.usefixtures("engine_there"), pytest.mark.django_db(transaction=True)]


async def test_documents_are_edited_from_two_rooms_and_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realtime.documents.journal.COMPACT_ENTRIES", 5)
    owner = await User.objects.acreate(username="owner")
    for number in range(3):  # each in a slot of its own
        document_id = f"notes-{number}"
        await Document.objects.acreate(id=document_id, content="Hello", owner=owner)
        async with writing(document_id, name="Writer") as writer:
            for word in range(8):
                await writer.write(f" {word}")
            await edit_document(document_id, lambda text: text.replace("Hello", "Good day"))
        await rooms().finished()
        assert document_id in await store.unsaved()
        assert await save_forgotten() >= 1
        saved = await save(document_id)
        assert saved.content == "Good day 0 1 2 3 4 5 6 7"
        found = await store.read(document_id)
        assert isinstance(found, Log)
        assert not found.updates
        await store.drop(document_id)
