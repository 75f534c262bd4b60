"""The engine's own periodic jobs remove what has passed, and stop when they lose their lock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone

from tasks_app import api, cleanups
from tasks_app.errors import LockLost
from tasks_app.models import ApiToken
from tasks_app.periodic_jobs import PeriodicJob, registered_jobs
from tasks_app.services import retention
from tasks_app.services.tokens import create_token
from tasks_app.store import client, keys
from tasks_app.worker.periodic import PeriodicService
from tests import sample_tasks
from tests.support.eventually import eventually
from tests.tasks_app.worker.test_periodic import counted, serving


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


def registered(function: Any) -> PeriodicJob:
    return next(job for job in registered_jobs() if job.function is function)


class Checked:
    """The `run` of a clean-up that still has its lock, or has it for so many checks."""

    name = "test"
    fence = 1
    cancelled = False

    def __init__(self, due: datetime | None = None, checks: int = 1000) -> None:
        self.due = due or datetime.now(UTC)
        self.left = checks

    async def check(self) -> None:
        self.check_sync()

    def check_sync(self) -> None:
        if self.left == 0:
            raise LockLost
        self.left -= 1


async def finished_tasks(count: int) -> None:
    for _ in range(count):
        task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
        await api.stop_task(task.id, by="alice")


async def test_pruning_goes_on_until_nothing_is_due(settings: Any) -> None:
    settings.TASK_RETENTION_SECONDS = -1.0
    await finished_tasks(9)
    run = Checked()
    assert await retention.prune(run.check, batch=2) == 9
    assert not (await api.list_tasks()).tasks


async def test_pruning_stops_with_the_lock(settings: Any) -> None:
    settings.TASK_RETENTION_SECONDS = -1.0
    await finished_tasks(9)
    with pytest.raises(LockLost):
        await retention.prune(Checked(checks=2).check, batch=2)
    assert len((await api.list_tasks()).tasks) == 5


async def test_a_worker_prunes_by_itself(settings: Any) -> None:
    settings.TASK_RETENTION_SECONDS = -1.0
    await finished_tasks(3)

    async def all_gone() -> bool:
        return not (await api.list_tasks()).tasks

    async with serving(registered(cleanups.prune_tasks)):
        await eventually(all_gone)


async def test_figures_of_jobs_that_are_gone_are_removed() -> None:
    name = keys.current().name("periodic")
    await client.client().hset(name, "app.tasks.gone", json.dumps({"seen": 1}))
    each = registered(cleanups.forget_periodic_jobs)
    async with serving(each):
        await eventually(counted(each, runs=1))
    assert await client.client().hkeys(name) == [each.name]


@pytest.mark.django_db(transaction=True)
def test_tokens_that_expired_long_ago_are_deleted() -> None:
    user = User.objects.create_user("ada")
    for name in ("for ever", "valid", "expired", "long ago"):
        create_token(user, name)
    now = timezone.now()
    for name, expires in (("valid", now + timedelta(days=1)), ("expired", now - timedelta(days=29)),
                          ("long ago", now - timedelta(days=31))):  # fmt: skip
        ApiToken.objects.filter(name=name).update(expires_at=expires)
    cleanups.delete_expired_tokens(Checked(now))
    left = set(ApiToken.objects.values_list("name", flat=True))
    assert left == {"for ever", "valid", "expired"}


@pytest.mark.django_db(transaction=True)
def test_nothing_is_deleted_without_the_lock() -> None:
    create_token(User.objects.create_user("ada"))
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(days=60))
    Session.objects.create(session_key="old", session_data="", expire_date=timezone.now())
    for clean in (cleanups.delete_expired_tokens, cleanups.clear_sessions):
        with pytest.raises(LockLost):
            clean(Checked(checks=0))
    assert ApiToken.objects.count() == Session.objects.count() == 1


@pytest.mark.django_db(transaction=True)
async def test_expired_sessions_are_cleared_by_a_worker() -> None:
    now = timezone.now()
    for key, expires in (("old", now - timedelta(days=1)), ("new", now + timedelta(days=1))):
        await Session.objects.acreate(session_key=key, session_data="", expire_date=expires)
    each = registered(cleanups.clear_sessions)
    async with serving(each) as service:
        await run_now(service, each)
        await eventually(counted(each, runs=1))

        async def ended() -> bool:
            return service._entries[0].carrying is None

        await eventually(ended)
    assert await sync_to_async(list)(Session.objects.values_list("session_key", flat=True)) == [
        "new"
    ]


async def run_now(service: PeriodicService, of: PeriodicJob) -> None:
    """Let the job's latest moment not have been run."""
    await eventually(counted(of, seen=1))
    name = keys.current().name("periodic")
    kept = json.loads(await client.client().hget(name, of.name))
    kept["last"] -= 1
    await client.client().hset(name, of.name, json.dumps(kept))
    service._entries[0].ask_at = 0.0
    service._wake.set()
