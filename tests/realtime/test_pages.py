"""The pages without a browser: who gets in, what the page is told, and the error pages."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template.loader import get_template
from django.test import Client

pytestmark = pytest.mark.django_db


def page_data(content: str) -> dict[str, Any]:
    found = re.search(r'<script id="page-data" type="application/json">(.*?)</script>', content)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.mark.parametrize("path", ["/", "/documents/", "/documents/some-id/"])
def test_a_page_asks_for_a_sign_in(client: Client, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 302
    assert answer["Location"] == f"/accounts/login/?next={path}"


def test_the_page_is_told_who_looks_at_it_and_nothing_can_break_out(client: Client) -> None:
    user = User.objects.create_user("</script>x", password="long-enough-word")
    client.force_login(user)

    content = client.get("/").content.decode()

    assert page_data(content)["user"] == {
        "id": str(user.pk),
        "name": "</script>x",
        "is_staff": False,
    }
    assert "</script>x" not in content


def test_staff_needs_the_permission_too(client: Client) -> None:
    user = User.objects.create_user("clerk", password="long-enough-word", is_staff=True)
    client.force_login(user)
    assert not page_data(client.get("/").content.decode())["user"]["is_staff"]

    user.is_superuser = True
    user.save()
    assert page_data(client.get("/").content.decode())["user"]["is_staff"]


def test_nothing_is_inline(client: Client) -> None:
    client.force_login(User.objects.create_user("ann", password="long-enough-word"))

    for path in ("/", "/documents/", "/documents/some-id/", "/accounts/login/"):
        content = client.get(path).content.decode()
        scripts = re.findall(r"<script(?![^>]*(?:src=|application/json))", content)
        assert not scripts
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", content)
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", content)


@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "500"])
def test_error_pages_say_what_to_do_without_a_request(name: str) -> None:
    content = get_template(f"{name}.html").render({})

    assert "Go to the board" in content


def test_a_wrong_address_gets_our_page(client: Client) -> None:
    answer = client.get("/no/such/page")

    assert answer.status_code == 404
    assert b"There is no such page" in answer.content


def test_a_form_that_is_out_of_date_gets_our_page() -> None:
    answer = Client(enforce_csrf_checks=True).post("/accounts/login/", {"username": "ann"})

    assert answer.status_code == 403
    assert b"out of date" in answer.content


def test_a_page_of_a_document_knows_its_id_and_no_path_is_one(client: Client) -> None:
    client.force_login(User.objects.create_user("ann", password="long-enough-word"))

    assert page_data(client.get("/documents/a-b_9/").content.decode())["document"] == "a-b_9"
    for path in ("/documents/../etc/", "/documents/a.b/", f"/documents/{'x' * 65}/"):
        assert client.get(path).status_code == 404


def test_where_the_editor_is_is_told_to_whoever_is_signed_in(client: Client) -> None:
    assert client.get("/documents/editor.json").status_code == 401
    client.force_login(User.objects.create_user("ann", password="long-enough-word"))

    answer = client.get("/documents/editor.json")

    assert answer.json().keys() == {"script", "building", "problem"}
    assert "no-store" in answer["Cache-Control"]
