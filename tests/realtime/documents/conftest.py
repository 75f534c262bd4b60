"""Fixtures of the documents' tests: a document on the site, and what its servers are asked."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest

from tests.realtime.site import Account, Server, Site


@dataclass(frozen=True, slots=True)
class Shared:
    """A document of the site: its owner, and those it is shared with."""

    id: str
    owner: Account
    writer: Account
    reader: Account
    stranger: Account


def request(
    server: Server, account: Account, method: str, path: str, **options: object
) -> httpx.Response:
    """Call the REST API of a server as somebody."""
    url = f"http://127.0.0.1:{server.port}/api/v1{path}"
    return httpx.request(method, url, headers=account.bearer, timeout=20, **options)  # type: ignore[arg-type]


def socket_url(server: Server, document_id: str) -> str:
    return f"ws://127.0.0.1:{server.port}/ws/documents/{document_id}"


@pytest.fixture(scope="session")
def cast(whole_site: Site) -> list[Account]:
    """Four users for all of these tests; each has a document of its own."""
    return [whole_site.account() for _ in range(4)]


@pytest.fixture
def shared(site: Site, servers: dict[str, Server], cast: list[Account]) -> Shared:
    """A new document with one who may write and one who may read."""
    owner, writer, reader, stranger = cast
    server = servers["daphne"]
    made = request(server, owner, "POST", "/documents", json={"title": "Shared"})
    assert made.status_code == 201, made.text
    document_id = made.json()["id"]
    for account, permission in ((writer, "write"), (reader, "read")):
        path = f"/documents/{document_id}/access/{account.name}"
        answer = request(server, owner, "PUT", path, json={"permission": permission})
        assert answer.status_code == 200, answer.text
    return Shared(document_id, owner, writer, reader, stranger)
