"""The usage of models in the admin: who used what, found by user name, summed up, read only."""

from __future__ import annotations

import re
from datetime import date

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tasks_app.models import ModelUsage
from tests.tasks_app.test_admin import html, signed_in, staff

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/admin/tasks_app/modelusage/"


@pytest.fixture
def browser() -> Client:
    return signed_in(User.objects.create_superuser("boss"))


def used(user_id: str, kind: str, **numbers: float) -> None:
    ModelUsage.objects.create(
        day=date(2026, 11, 24), user_id=user_id, kind=kind, model="m-1", **numbers
    )


def sums(page: str) -> list[str]:
    (table,) = re.findall(r'<table class="signalbox-totals">.*?</table>', page, re.DOTALL)
    return re.findall(r"<td>([^<]*)</td>", table)


def test_rows_and_their_sums(browser: Client) -> None:
    alice = User.objects.create_user("alice")
    used(str(alice.pk), "title", calls=4, failures=1, prompt_tokens=1_234_567, seconds=6,
         completion_tokens=5, first_tokens=2, first_token_seconds=0.5)  # fmt: skip
    used("robot-9", "tags", calls=2, prompt_tokens=3)
    page = html(browser.get(PAGE))
    assert "alice" in page
    assert "robot-9" in page  # an owner that is no user
    assert ">1.5 s<" in page
    assert ">250 ms<" in page
    assert sums(page) == ["6", "1", "1,234,570", "5"]
    assert sums(html(browser.get(PAGE, {"q": "ali"}))) == ["4", "1", "1,234,567", "5"]
    assert sums(html(browser.get(PAGE, {"kind": "tags"}))) == ["2", "0", "3", "0"]
    assert sums(html(browser.get(PAGE, {"q": "robot-9"}))) == ["2", "0", "3", "0"]


def test_an_empty_page_has_sums_of_nothing(browser: Client) -> None:
    assert sums(html(browser.get(PAGE))) == ["0", "0", "0", "0"]


def test_nobody_changes_it(browser: Client) -> None:
    used("1", "title")
    row = ModelUsage.objects.get()
    assert browser.get(f"{PAGE}add/").status_code == 403
    browser.post(f"{PAGE}{row.pk}/change/", {"calls": "9"})
    browser.post(f"{PAGE}{row.pk}/delete/", {"post": "yes"})
    row.refresh_from_db()
    assert row.calls == 0


def test_staff_need_the_permission() -> None:
    client = staff("view_task")
    assert client.get(PAGE).status_code == 403
    permission = Permission.objects.get(codename="view_modelusage")
    User.objects.get(username="staff").user_permissions.add(permission)
    assert client.get(PAGE).status_code == 200
