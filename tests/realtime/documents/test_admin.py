"""Documents in the admin: what is shown, what a change touches, who may."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from realtime.models import Document, DocumentAccess, DocumentVersion
from tasks_app import api

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss", password="!")


@pytest.fixture
def browser(boss: User) -> Client:
    client = Client()
    client.force_login(boss)
    return client


@pytest.fixture
def document(boss: User) -> Document:
    made = Document.objects.create(
        id="notes", title="Notes", content="<b>text</b>", owner=boss, state=b"kept", version=7
    )
    DocumentVersion.objects.create(document=made, version=6, content="before")
    return made


def inline(**row: str) -> dict[str, str]:
    """Return a form's fields for one row of access."""
    management = {"TOTAL_FORMS": "1", "INITIAL_FORMS": "0", "MIN_NUM_FORMS": "0"}
    fields = {f"access-{name}": value for name, value in management.items()}
    return fields | {f"access-0-{name}": value for name, value in row.items()}


def test_documents_and_versions_are_shown(browser: Client, document: Document) -> None:
    assert b"Notes" in browser.get("/admin/realtime/document/?q=notes").content
    page = browser.get("/admin/realtime/document/notes/change/").content
    assert b"&lt;b&gt;text&lt;/b&gt;" in page
    page = browser.get("/admin/realtime/documentversion/?document__id__exact=notes").content
    assert b"notes" in page
    version = DocumentVersion.objects.get()
    address = f"/admin/realtime/documentversion/{version.pk}/change/"
    assert b"before" in browser.get(address).content


def test_a_change_touches_only_what_was_changed(browser: Client, document: Document) -> None:
    other = User.objects.create(username="other")
    team = Group.objects.create(name="team")
    form = {"title": "New", "owner": str(other.pk)}
    access = inline(document="notes", group=str(team.pk), permission="write", user="")
    answer = browser.post("/admin/realtime/document/notes/change/", form | access)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    found = Document.objects.get(pk="notes")
    assert (found.title, found.owner) == ("New", other)
    assert (bytes(found.state), found.version, found.content) == (b"kept", 7, "<b>text</b>")
    assert DocumentAccess.objects.get().group == team


def test_either_a_user_or_a_group(browser: Client, document: Document, boss: User) -> None:
    form = {"title": "New", "owner": str(boss.pk)}
    access = inline(document="notes", group="", permission="write", user="")
    answer = browser.post("/admin/realtime/document/notes/change/", form | access)
    assert b"Name either a user or a group." in answer.content
    assert not DocumentAccess.objects.exists()


def test_a_document_is_made_and_a_bad_id_refused(browser: Client, boss: User) -> None:
    form = {"title": "Made", "owner": str(boss.pk)} | inline()
    form["access-TOTAL_FORMS"] = "0"
    assert browser.post("/admin/realtime/document/add/", form | {"id": "a b"}).status_code == 200
    assert browser.post("/admin/realtime/document/add/", form | {"id": "config"}).status_code == 200
    assert browser.post("/admin/realtime/document/add/", form | {"id": "made"}).status_code == 302
    assert Document.objects.get().pk == "made"


def test_a_version_is_restored_by_a_task(browser: Client, document: Document) -> None:
    version = DocumentVersion.objects.get()
    form = {"action": "restore", "_selected_action": str(version.pk)}
    answer = browser.post("/admin/realtime/documentversion/", form, follow=True)
    assert b"A worker lays the text into the document." in answer.content
    [task_id] = api.task_ids_sync(0, 10)
    task = api.find_sync(task_id)
    assert task is not None
    assert (task.name, task.payload["args"]) == ("restore_version", ["notes", 6])


def test_staff_without_permission_see_nothing(document: Document) -> None:
    clerk = User.objects.create(username="clerk", is_staff=True)
    client = Client()
    client.force_login(clerk)
    assert client.get("/admin/realtime/document/").status_code == 403
    clerk.user_permissions.add(Permission.objects.get(codename="view_document"))
    assert client.get("/admin/realtime/document/").status_code == 200
    assert client.post("/admin/realtime/document/notes/delete/").status_code == 403
