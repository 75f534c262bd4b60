"""Periodic jobs in the admin: their figures live from Redis, for those who may see all tasks."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from tasks_app import api
from tasks_app.models import PeriodicJob
from tasks_app.store import client as store_client
from tasks_app.store import keys
from tasks_app.store import periodic as store
from tasks_app.store.periodic import Holder, TickCode
from tests.conftest import point_at
from tests.tasks_app.test_admin import html, signed_in, staff

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/tasks_app/periodicjob/"
PRUNE = "tasks_app.cleanups.prune_tasks"
TOKENS = "tasks_app.cleanups.delete_expired_tokens"


@pytest.fixture
def browser() -> Client:
    return signed_in(User.objects.create_superuser("boss"))


def holder() -> Holder:
    return Holder(job=PRUNE, lock="prune", token="t", timeout=30, instance="worker-<1>")


def begin() -> None:
    call = store.tick(keys.current(), holder(), period_ms=5000, moments=(0, 0), latest_ms=None)
    assert store_client.run(call).code is TickCode.GRANTED


def reports() -> dict[str, api.JobReport]:
    return {job.name: job for job in api.periodic_jobs_sync()}


def row(page: str, name: str) -> str:
    return " ".join(next(part for part in page.split("<tr>") if name in part).split())


def now() -> datetime:
    return datetime.fromtimestamp(store_client.run(store.clock(keys.current())) / 1000, UTC)


def test_a_job_that_never_ran_shows_when_it_is_due(browser: Client) -> None:
    never = reports()
    assert never[PRUNE].next_due <= now()  # as soon as a worker comes
    due = never[TOKENS].next_due
    assert (due.hour, due.minute, due > now()) == (3, 17, True)
    shown = row(html(browser.get(PAGE)), TOKENS)
    assert f"{due:%Y-%m-%d %H:%M:%S}" in shown
    assert "cron 17 3 * * *" in shown
    assert "waiting" in shown


def test_a_running_job_shows_where(browser: Client) -> None:
    begin()
    job = reports()[PRUNE]
    assert (job.is_running, job.runs, job.instance) == (True, 1, "worker-<1>")
    assert 'title="worker-&lt;1&gt;">running' in row(html(browser.get(PAGE)), PRUNE)


def test_a_job_whose_worker_died_is_not_running(browser: Client) -> None:
    begin()
    store_client.run(store.Call(int, ("DEL", keys.current().name("lock", "prune"))))
    assert not reports()[PRUNE].is_running


def test_figures_and_the_last_error_are_shown(browser: Client) -> None:
    begin()
    store_client.run(store.end(keys.current(), holder(), error="ValueError: <no>"))
    job = reports()[PRUNE]
    assert (job.runs, job.failures, job.error, job.is_running) == (1, 1, "ValueError: <no>", False)
    assert job.duration is not None
    assert job.failed_at is not None
    shown = row(html(browser.get(PAGE)), PRUNE)
    assert "ValueError: &lt;no&gt;" in shown
    assert re.search(r"every 5 s", shown)


def test_damaged_figures_stop_no_page(browser: Client) -> None:
    name = keys.current().name("periodic")
    store_client.run(store.Call(int, ("HSET", name, PRUNE, "[", TOKENS, '{"runs": "x"}')))
    assert PRUNE in html(browser.get(PAGE))
    store_client.run(store.Call(int, ("DEL", name)))
    store_client.run(store.Call(str, ("SET", name, "of the wrong type")))
    assert PRUNE in html(browser.get(PAGE))


def test_the_index_links_to_it_for_those_who_may(browser: Client) -> None:
    assert PAGE in html(browser.get("/admin/"))
    viewer = staff("view_task")
    assert PAGE in html(viewer.get("/admin/"))
    assert PRUNE in html(viewer.get(PAGE))


def test_others_are_refused() -> None:
    other = staff("view_apitoken")
    assert PAGE not in html(other.get("/admin/"))
    assert other.get(PAGE).status_code == 403
    assert Client().get(PAGE).status_code == 302


@pytest.mark.parametrize("path", ["add/", "x/change/", "x/delete/", "x/history/"])
def test_there_is_nothing_else(browser: Client, path: str) -> None:
    assert browser.get(f"{PAGE}{path}").status_code in {302, 403, 404}


def test_without_redis_the_page_says_so(browser: Client, settings: Any) -> None:
    point_at(settings, "unix:///nowhere/redis.sock", "x")
    answer = browser.get(PAGE)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_dumpdata_finds_no_table(capsys: Any) -> None:
    call_command("dumpdata", "tasks_app")
    assert list(PeriodicJob.objects.all()) == []
