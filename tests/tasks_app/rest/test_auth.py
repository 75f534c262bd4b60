"""Who gets in: every operation, with no credentials, bad ones, a session and a token."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from tasks_app.models import ApiToken
from tasks_app.rest import edges
from tasks_app.rest.urls import rest
from tests.tasks_app.rest.conftest import Person, asgi_client

pytestmark = pytest.mark.django_db(transaction=True)

PARAMETERS = {
    "task_id": "0" * 32,
    "item_id": "chat-1",
    "kind": "title",
    "document_id": "none",
    "username": "nobody",
    "version": "1",
}


def _operations() -> Iterator[tuple[str, str]]:
    paths: dict[str, dict[str, Any]] = rest.get_openapi_schema(path_prefix="/api/")["paths"]
    for path, methods in paths.items():
        for method in methods:
            yield method.upper(), path.format(**PARAMETERS)


OPERATIONS = sorted(_operations())


def test_the_walk_covers_the_whole_api() -> None:
    assert len(OPERATIONS) == 30


async def test_nobody_gets_in(nobody: httpx.AsyncClient) -> None:
    bad: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer no-such-token"},
        {"Authorization": f"Bearer {'0' * 48}"},
        {"Authorization": "Bearer \xff\xfe"},
        {"Authorization": "Basic YWRhOmFkYQ=="},
        {"Authorization": "no-such-token"},
        {"Cookie": "sessionid=no-such-session"},
        {"Cookie": "sessionid=x; csrftoken=y", "X-CSRFToken": "y"},
    )
    for (method, path), headers in itertools.product(OPERATIONS, bad):
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        response = await nobody.request(method, path, headers=raw)
        assert response.status_code == 401, (method, path, headers)
        assert "createtoken" in response.json()["detail"]
        assert response.headers["www-authenticate"] == "Bearer"


async def test_a_token_that_no_longer_works_is_refused(ada: Person) -> None:
    await User.objects.aupdate(is_active=False)
    for method, path in OPERATIONS:
        assert (await ada.http.request(method, path)).status_code == 401
    await User.objects.aupdate(is_active=True)
    await ApiToken.objects.all().adelete()
    for method, path in OPERATIONS:
        assert (await ada.http.request(method, path)).status_code == 401


async def test_a_bad_token_is_refused_although_a_session_is_signed_in(ada: Person) -> None:
    async with await _signed_in("ada") as client:
        assert (await client.get("/api/v1/me")).json()["username"] == "ada"
        response = await client.get("/api/v1/me", headers={"Authorization": "Bearer wrong"})
        assert response.status_code == 401


async def test_a_session_reads_freely_and_changes_only_with_the_csrf_token(ada: Person) -> None:
    async with await _signed_in("ada") as client:
        assert (await client.get("/api/v1/tasks")).status_code == 200
        path = f"/api/v1/tasks/{'0' * 32}/stop"
        refused = await client.post(path)
        assert refused.status_code == 403
        assert "X-CSRFToken" in refused.json()["detail"]
        assert (await client.post(path, headers={"X-CSRFToken": "wrong"})).status_code == 403
        token = "a" * 32
        client.cookies.set("csrftoken", token, domain="localhost.local")
        passed = await client.post(path, headers={"X-CSRFToken": token})
        assert passed.status_code == 404, "it got past the check, and there is no such task"


async def test_a_form_is_not_read_in_search_of_a_csrf_token(ada: Person) -> None:
    async with await _signed_in("ada") as client:
        response = await client.post("/api/v1/chat/completions", data={"csrfmiddlewaretoken": "x"})
        assert (response.status_code, response.json()["detail"]) == (400, "Send JSON, not a form.")


async def test_me_names_the_caller(ada: Person, warden: Person) -> None:
    assert (await ada.http.get("/api/v1/me")).json() == {
        "id": str(ada.user.pk),
        "username": "ada",
        "is_staff": False,
        "task_model": None,
    }
    assert (await warden.http.get("/api/v1/me")).json()["is_staff"] is True


async def test_unknown_addresses_and_methods_are_json(nobody: httpx.AsyncClient) -> None:
    for path in ("/api", "/api/", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/models/"):
        response = await nobody.get(path)
        assert response.status_code == 404, path
        assert path in response.json()["detail"]
    assert (await nobody.post("/api/v1/nothing", json={})).status_code == 404
    refused = await nobody.delete("/api/v1/models")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert refused.json() == {"detail": "Use one of: GET."}


@pytest.mark.parametrize("debug", [False, True])
async def test_what_django_refuses_itself_is_json_for_programs(
    nobody: httpx.AsyncClient, settings: Any, debug: bool
) -> None:
    settings.DEBUG = debug
    settings.ALLOWED_HOSTS = ["elsewhere.example"]
    for path in ("/api/v1/me", "/api/nowhere", "/healthz", "/readyz"):
        refused = await nobody.get(path)
        assert refused.status_code == 400
        assert "ALLOWED_HOSTS" in refused.json()["detail"]
    page = await nobody.get("/accounts/login/")
    assert page.status_code == 400
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_refuse_other_methods_in_json(nobody: httpx.AsyncClient, path: str) -> None:
    refused = await nobody.put(path)
    assert (refused.status_code, refused.json()) == (405, {"detail": "Use one of: GET, HEAD."})


def test_a_failure_around_the_api_is_json_for_programs() -> None:
    answer = edges.server_error(RequestFactory().get("/api/v1/me"))
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/json")
    page = edges.server_error(RequestFactory().get("/"))
    assert (page.status_code, page["Content-Type"]) == (500, "text/html; charset=utf-8")


async def test_the_schema_and_its_page_are_there_without_any_foreign_address(
    nobody: httpx.AsyncClient,
) -> None:
    schema = (await nobody.get("/api/openapi.json")).json()
    assert schema["openapi"].startswith("3.1")
    assert {"BearerAuth", "SessionAuth"} <= set(schema["components"]["securitySchemes"])
    for methods in schema["paths"].values():
        for operation in methods.values():
            assert operation["security"]
            assert {"401", "404", "422", "503"} <= set(operation["responses"])
    for path, content in (
        ("/api/v1/chat/completions", {"application/json", "text/event-stream"}),
        ("/api/v1/tasks/{kind}/completions", {"application/json", "text/event-stream"}),
    ):
        call = schema["paths"][path]["post"]
        assert "Prefer" in {parameter["name"] for parameter in call["parameters"]}
        assert set(call["responses"]["200"]["content"]) == content
        assert set(call["responses"]["200"]["headers"]) == {"X-Task-Id"}
        assert set(call["responses"]["202"]["headers"]) == {"X-Task-Id", "Location"}
    page = await nobody.get("/api/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("<!DOCTYPE html>", "")
    for path in ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-init.js"):
        assert f"/static/ninja/{path}" in page.text
        assert (await nobody.get(f"/static/ninja/{path}")).status_code == 200


@sync_to_async
def _session_cookie(username: str) -> str:
    client = Client()
    client.force_login(User.objects.get(username=username))
    return client.cookies["sessionid"].value


async def _signed_in(username: str) -> httpx.AsyncClient:
    return asgi_client(cookies={"sessionid": await _session_cookie(username)})
