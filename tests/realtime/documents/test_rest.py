"""Documents over HTTP, on a real server: the resources, who may what, versions, live text."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.realtime.documents.conftest import Shared, request, socket_url
from tests.realtime.documents.editor import Editor
from tests.realtime.site import Account, Server, Site

FIELDS = {"id", "title", "content", "version", "updated_at", "permission"}


@pytest.fixture
def web(servers: dict[str, Server], site: Site) -> Server:
    return servers["daphne"]


def test_a_document_is_made_shown_changed_and_deleted(web: Server, cast: list[Account]) -> None:
    owner = cast[0]
    made = request(web, owner, "POST", "/documents", json={"title": "T", "content": "one\ntwo"})
    assert made.status_code == 201
    document = made.json()
    assert document.keys() == FIELDS
    path = f"/documents/{document['id']}"
    assert made.headers["Location"] == f"/api/v1{path}"
    assert (document["version"], document["permission"]) == (1, "owner")
    assert request(web, owner, "GET", path).json() == document
    body = {"title": "New", "content": "one\n2"}
    changed = request(web, owner, "PATCH", path, json=body).json()
    assert (changed["title"], changed["content"], changed["version"]) == ("New", "one\n2", 2)
    same = request(web, owner, "PATCH", path, json={"content": "one\n2"}).json()
    assert same["version"] == 2
    assert request(web, owner, "DELETE", path).status_code == 204
    assert request(web, owner, "GET", path).status_code == 404
    assert request(web, owner, "DELETE", path).status_code == 404


def test_lists_have_pages_and_only_what_one_may_open(web: Server, shared: Shared) -> None:
    def listed(account: Account, query: str = "") -> dict[str, Any]:
        answer = request(web, account, "GET", f"/documents{query}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    for account, permission in (
        (shared.owner, "owner"),
        (shared.writer, "write"),
        (shared.reader, "read"),
    ):
        [mine] = [one for one in listed(account)["documents"] if one["id"] == shared.id]
        assert mine["permission"] == permission
    assert shared.id not in {one["id"] for one in listed(shared.stranger)["documents"]}
    made = [request(web, shared.owner, "POST", "/documents", json={}) for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = listed(shared.owner, f"?limit=2{cursor}")
        assert len(page["documents"]) <= 2
        seen += [one["id"] for one in page["documents"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen[:5] == [one.json()["id"] for one in reversed(made)]
    assert len(seen) == len(set(seen))


def test_permissions(web: Server, site: Site, shared: Shared) -> None:
    path = f"/documents/{shared.id}"
    access = f"{path}/access/{shared.stranger.name}"
    expected = {
        ("GET", path): (200, 200, 200, 404),
        ("PATCH", path): (200, 200, 403, 404),
        ("GET", f"{path}/versions"): (200, 200, 200, 404),
        ("GET", f"{path}/versions/1"): (200, 200, 200, 404),
        ("POST", f"{path}/versions/1/restore"): (200, 200, 403, 404),
        ("POST", f"{path}/continue"): (422, 422, 422, 422),
        ("GET", f"{path}/access"): (200, 403, 403, 404),
        ("DELETE", path): (None, 403, 403, 404),
        ("DELETE", access): (404, 403, 403, 404),
        ("PUT", access): (422, 422, 422, 422),
    }
    bodies = {"PATCH": {"title": "x"}, "PUT": {"permission": "admin"}, "POST": {"model": 5}}
    for (method, where), statuses in expected.items():
        accounts = (shared.owner, shared.writer, shared.reader, shared.stranger)
        for account, status in zip(accounts, statuses, strict=True):
            if status is not None:
                answer = request(web, account, method, where, json=bodies.get(method))
                assert answer.status_code == status, (method, where, account.name, answer.text)
    granted = request(web, shared.owner, "PUT", access, json={"permission": "read"})
    assert granted.json() == {"username": shared.stranger.name, "permission": "read"}
    assert request(web, shared.stranger, "GET", path).json()["permission"] == "read"
    assert request(web, shared.owner, "DELETE", access).status_code == 204
    assert request(web, shared.stranger, "GET", path).status_code == 404
    unknown = f"{path}/access/nobody-of-that-name"
    answer = request(web, shared.owner, "PUT", unknown, json={"permission": "read"})
    assert answer.status_code == 404
    assert request(web, site.superuser, "GET", path).json()["permission"] == "owner"
    assert request(web, site.clerk, "GET", path).json()["permission"] == "read"
    assert request(web, site.clerk, "DELETE", path).status_code == 403
    assert request(web, site.superuser, "DELETE", path).status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        {"id": "config"},
        {"id": "a/b"},
        {"id": ""},
        {"id": "x" * 65},
        {"title": "t" * 201},
        {"title": 5},
        {"content": "a\0b"},
        {"content": None},
    ],
)
def test_what_cannot_be_made_names_the_field(
    web: Server, cast: list[Account], body: dict[str, Any]
) -> None:
    answer = request(web, cast[0], "POST", "/documents", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", *body]


def test_other_refusals(web: Server, cast: list[Account]) -> None:
    one, other = cast[:2]
    document_id = request(web, one, "POST", "/documents", json={}).json()["id"]
    taken = request(web, other, "POST", "/documents", json={"id": document_id})
    assert taken.status_code == 409
    assert request(web, one, "GET", "/documents?cursor=nonsense").status_code == 422
    assert request(web, one, "GET", "/documents?limit=0").status_code == 422
    for path in ("/documents/%2e%2e", "/documents/..%2Fconfig", "/documents/none"):
        assert request(web, one, "GET", path).status_code == 404
    path = f"/documents/{document_id}/versions/99999999999999999999"
    assert request(web, one, "GET", path).status_code == 404
    large = request(web, one, "PATCH", f"/documents/{document_id}", json={"content": "x" * 2**21})
    assert large.status_code == 413


def test_a_stale_version_is_refused_and_only_one_of_several_wins(
    web: Server, shared: Shared
) -> None:
    path = f"/documents/{shared.id}"
    first = request(web, shared.owner, "PATCH", path, json={"content": "a", "version": 1})
    assert first.json()["version"] == 2
    stale = request(web, shared.writer, "PATCH", path, json={"content": "b", "version": 1})
    assert stale.status_code == 409
    with ThreadPoolExecutor(4) as pool:
        bodies = [{"content": f"c{number}", "version": 2} for number in range(4)]
        answers = list(
            pool.map(lambda b: request(web, shared.owner, "PATCH", path, json=b), bodies)
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_a_patch_is_laid_into_the_open_editor_and_what_is_live_is_shown(
    servers: dict[str, Server], shared: Shared
) -> None:
    path = f"/documents/{shared.id}"
    editor = Editor()
    async with editor.online(
        socket_url(servers["uvicorn"], shared.id), additional_headers=shared.writer.bearer
    ):
        editor.type("first line\nsecond line\n")
        seen = Editor()
        async with seen.online(
            socket_url(servers["daphne"], shared.id), additional_headers=shared.reader.bearer
        ):
            await seen.has("first line\nsecond line\n")
        server, owner = servers["daphne"], shared.owner
        live = await asyncio.to_thread(request, server, owner, "GET", path)
        assert live.json()["content"] == "first line\nsecond line\n"
        # What is written while the answer is awaited is not overwritten.
        editor.text.insert(0, "zero ")
        body = {"content": "first line\nsecond line, changed\n"}
        answer = await asyncio.to_thread(request, server, owner, "PATCH", path, json=body)
        assert answer.status_code == 200
        await editor.has(answer.json()["content"])
        assert "second line, changed" in str(editor.text)
        stale = {"content": "lost", "version": 1}
        answer = await asyncio.to_thread(request, server, owner, "PATCH", path, json=stale)
        assert answer.status_code == 409  # there was more than version 1, saved or not


def test_versions_are_listed_shown_and_restored(web: Server, shared: Shared) -> None:
    path = f"/documents/{shared.id}"
    for text in ("one", "two", "three"):
        request(web, shared.owner, "PATCH", path, json={"content": text})
    kept = request(web, shared.reader, "GET", f"{path}/versions").json()["versions"]
    assert [one["version"] for one in kept] == [4, 3, 2, 1]
    shown = request(web, shared.reader, "GET", f"{path}/versions/3").json()
    assert (shown["version"], shown["content"]) == (3, "two")
    restored = request(web, shared.writer, "POST", f"{path}/versions/2/restore").json()
    assert (restored["content"], restored["version"]) == ("one", 5)
    assert request(web, shared.owner, "GET", f"{path}/versions/9").status_code == 404
