"""Sessions and model usage in the admin: live from Redis, for those who may see all tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from realtime.domain.pools import Card
from realtime.models import ModelUsage, Session
from realtime.store import client, keys, sessions, usage
from tests.conftest import point_at
from tests.tasks_app.test_admin import html, signed_in, staff

pytestmark = pytest.mark.django_db(transaction=True)

SESSIONS = "/admin/realtime/session/"
USAGE = "/admin/realtime/modelusage/"
PAGES = (SESSIONS, USAGE)


@pytest.fixture
def browser() -> Client:
    return signed_in(User.objects.create_superuser("boss"))


@pytest.fixture
def raw(redis_url: str) -> Iterator[Any]:
    with contextlib.closing(redis.Redis.from_url(redis_url, decode_responses=True)) as connection:
        yield connection


def enter(count: int, name: str = "ada") -> None:
    cards = [
        Card(session_id=f"session-{n:04}", user_id="7", name=name, since=1_790_000_000_000).encode()
        for n in range(count)
    ]
    for call in sessions.ping(cards, timeout=120):
        client.run(call)


def test_sessions_are_shown_with_their_user(browser: Client) -> None:
    assert "Nobody is connected" in html(browser.get(SESSIONS))
    enter(1, name="<ada>")
    shown = html(browser.get(SESSIONS))
    assert "&lt;ada&gt;" in shown
    assert "session-0000" in shown
    assert "id 7" in shown
    assert "2026-09-21" in shown
    assert "1 session" in shown


def test_sessions_come_by_pages(browser: Client) -> None:
    enter(250)
    seen: set[str] = set()
    for page in (1, 2, 3):
        content = html(browser.get(SESSIONS, {"p": page}))
        assert "250 sessions" in content
        assert ("Next" in content) == (page < 3)
        assert ("Previous" in content) == (page > 1)
        seen |= {name for name in (f"session-{n:04}" for n in range(250)) if name in content}
    assert len(seen) == 250
    for nonsense in ("x", "-1", "0", "", "²"):
        assert "session-" in html(browser.get(SESSIONS, {"p": nonsense}))
    assert "250 sessions" in html(browser.get(SESSIONS, {"p": "9" * 30}))


def test_who_has_expired_is_not_shown(browser: Client, raw: Any) -> None:
    enter(2)
    dead = raw.zrange(keys.session_pool(), 0, 0)[0]
    raw.zadd(keys.session_pool(), {dead: 1})
    content = html(browser.get(SESSIONS))
    assert "1 session" in content
    assert Card.decode(dead).session_id not in content


def test_models_are_shown_with_the_number_of_their_sessions(browser: Client, settings: Any) -> None:
    settings.USAGE_TIMEOUT_SECONDS = 60
    assert "No model is in use" in html(browser.get(USAGE))
    for call in usage.ping({"<gpt>": [str(n) for n in range(200)], "other": ["1"]}, timeout=60):
        client.run(call)
    shown = html(browser.get(USAGE))
    row = next(part for part in shown.split("<tr>") if "&lt;gpt&gt;" in part)
    assert "<td>200</td>" in row
    assert "2 models" in shown


@pytest.mark.parametrize("page", PAGES)
def test_only_those_who_may_see_all_tasks_look(browser: Client, page: str) -> None:
    assert page in html(browser.get("/admin/"))
    viewer = staff("view_task")
    assert page in html(viewer.get("/admin/"))
    assert viewer.get(page).status_code == 200
    viewer.logout()
    User.objects.all().delete()
    other = staff("view_apitoken")
    assert page not in html(other.get("/admin/"))
    assert other.get(page).status_code == 403
    assert Client().get(page).status_code == 302


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("path", ["add/", "x/change/", "x/delete/", "x/history/"])
def test_there_is_nothing_to_edit(browser: Client, page: str, path: str) -> None:
    assert browser.get(f"{page}{path}").status_code in {302, 403, 404}


@pytest.mark.parametrize("page", PAGES)
def test_without_redis_the_page_says_so(browser: Client, settings: Any, page: str) -> None:
    point_at(settings, "unix:///nowhere/redis.sock", "x")
    answer = browser.get(page)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_dumpdata_finds_no_table(capsys: Any) -> None:
    call_command("dumpdata", "realtime")
    assert list(Session.objects.all()) == list(ModelUsage.objects.all()) == []
