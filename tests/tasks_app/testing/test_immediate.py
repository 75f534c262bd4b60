"""The immediate backend: the engine's own execution, at enqueue, in the caller's process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from tasks_app import gather
from tasks_app.compat import (
    DjangoTaskContext,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
    task_finished,
    task_started,
)
from tasks_app.domain.context import current_task_id
from tasks_app.errors import InvalidArguments, InvalidResult, PayloadTooLarge, TaskFailed
from tasks_app.testing import immediate, ran
from tests import django_sample_tasks as samples
from tests import sample_tasks
from tests.support.eventually import eventually

SUCCESSFUL, FAILED = TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED


@pytest.fixture(autouse=True)
def _immediate(settings: Any) -> Iterator[None]:
    cache = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {"default": cache}  # nobody answers there
    settings.TASKS = {"default": {"BACKEND": "tasks_app.testing.ImmediateBackend", "QUEUES": []}}
    samples.SEEN.clear()
    yield
    immediate._kept.clear()


@pytest.mark.parametrize("sample", [samples.plain, samples.plain_async])
def test_enqueue_runs_it(sample: Any) -> None:
    result = sample.enqueue((1,), two=3)
    assert (result.status, result.return_value) == (SUCCESSFUL, [[[1]], {"two": 3}])
    assert (result.attempts, result.worker_ids, result.errors) == (1, ["immediate"], [])
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert sample.get_result(result.id) == result
    result.refresh()
    assert result.is_finished


@pytest.mark.parametrize("sample", [samples.plain, samples.plain_async])
async def test_aenqueue_runs_it(sample: Any) -> None:
    result = await sample.using(priority=3, queue_name="mail").aenqueue(1)
    assert result.return_value == [[1], {}]
    again = await sample.aget_result(result.id)
    assert (again.return_value, again.task.queue_name) == ([[1], {}], "mail")


def test_errors_are_the_workers() -> None:
    [error] = samples.odd.enqueue().errors
    assert error.exception_class is samples.OddError
    assert "django_sample_tasks.py" in error.traceback
    assert samples.leave.enqueue().errors[0].exception_class is SystemExit
    assert samples.unstorable.enqueue().errors[0].exception_class is InvalidResult
    assert sample_tasks.too_slow.enqueue().errors[0].exception_class is TimeoutError


def test_arguments_are_checked_as_ever(settings: Any) -> None:
    with pytest.raises(InvalidArguments):
        samples.plain.enqueue(object())
    settings.TASK_MAX_PAYLOAD_BYTES = 1024
    with pytest.raises(PayloadTooLarge):
        samples.plain.enqueue("x" * 2000)


@pytest.mark.parametrize("sample", [samples.look, samples.look_async])
def test_the_context(sample: Any) -> None:
    result = sample.enqueue("word")
    assert result.return_value == [1, result.id, "word"]
    [context] = samples.SEEN
    assert isinstance(context, DjangoTaskContext)
    assert context.cancelled is False
    assert context.task_result.status is TaskResultStatus.RUNNING


def test_retries_come_at_once(tmp_path: Path) -> None:
    result = sample_tasks.fail_until_third.enqueue(str(tmp_path / "tries"))
    assert (result.return_value, result.attempts, result.errors) == (3, 3, [])
    result = sample_tasks.fail_once_then_wait.enqueue()  # each delay would be 30 s
    assert (result.status, result.attempts) == (FAILED, 2)


def test_what_would_wait_runs_at_once() -> None:
    later = timezone.now() + timedelta(days=1)
    assert samples.plain.using(run_after=later).enqueue().is_finished
    assert samples.plain.using(debounce=60, unique_key="x").enqueue().is_finished


def test_output_is_kept() -> None:
    result = sample_tasks.talk.enqueue(["a", "b"])
    assert ran(result).text == "ab"
    assert ran(result).events == (("token", {"text": "ab"}),)
    assert (ran(result).attempts, ran(result).progress) == (1, None)


async def test_children_and_gather() -> None:
    result = await sample_tasks.sum_of_children.aenqueue([1, 2, 3])
    assert result.return_value == 6
    assert current_task_id.get() == ""
    failed = await sample_tasks.fail.aenqueue()
    with pytest.raises(TaskFailed, match=failed.id) as caught:
        await gather(result, failed)
    assert caught.value.__notes__ == ["ValueError: the reason"]
    found = await gather(result, failed, return_exceptions=True)
    assert found[0] == 6
    assert isinstance(found[1], TaskFailed)


async def test_many() -> None:
    results = await sample_tasks.add.aenqueue_many([((1, 2), {}), ((3,), {"b": 4})])
    assert [result.return_value for result in results] == [3, 7]


async def test_signals_tell_it() -> None:
    told: list[tuple[str, str]] = []

    def listen(signal: Any, task_result: Any, **_: Any) -> None:
        told.append((task_result.id, task_result.status))

    for signal in (task_enqueued, task_started, task_finished):
        signal.connect(listen)
    try:
        result = await samples.plain.aenqueue()
        other = await sync_to_async(samples.odd.enqueue)()
    finally:
        for signal in (task_enqueued, task_started, task_finished):
            signal.disconnect(listen)
    assert told == [
        (result.id, "READY"), (result.id, "RUNNING"), (result.id, "SUCCESSFUL"),
        (other.id, "READY"), (other.id, "RUNNING"), (other.id, "FAILED"),
    ]  # fmt: skip


async def test_a_cancelled_caller_is_cancelled() -> None:
    async def has_begun() -> bool:
        return bool(samples.SEEN)

    caller = asyncio.create_task(samples.begin_and_wait.aenqueue())
    await eventually(has_begun)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert samples.SEEN == ["begun", "ended"]


def test_results_that_are_not_there() -> None:
    with pytest.raises(TaskResultDoesNotExist):
        samples.plain.get_result("nothing")


def test_only_the_newest_results_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(immediate, "KEPT", 2)
    first, *_, last = [samples.plain.enqueue() for _ in range(3)]
    assert samples.plain.get_result(last.id) == last
    with pytest.raises(TaskResultDoesNotExist):
        samples.plain.get_result(first.id)


# --- the database ---------------------------------------------------------------------------------


@pytest.mark.django_db
def test_tasks_see_what_the_test_has_not_committed() -> None:
    User.objects.create_user("ada")
    assert sample_tasks.count_users.enqueue().return_value == 1
    assert sample_tasks.count_users_async.enqueue().return_value == 1


@pytest.mark.django_db(transaction=True)
async def test_tasks_see_it_from_asynchronous_code_too() -> None:
    await User.objects.acreate(username="ada")
    assert (await sample_tasks.count_users.aenqueue()).return_value == 1
    assert (await sample_tasks.count_users_async.aenqueue()).return_value == 1


@pytest.mark.django_db(transaction=True)
def test_on_commit_it_waits() -> None:
    waiting = sample_tasks.count_users.using(enqueue_on_commit=True)
    with transaction.atomic():
        result = waiting.enqueue()
        other = async_to_sync(waiting.aenqueue)()
        assert result.status is other.status is TaskResultStatus.READY
        User.objects.create_user("ada")
    result.refresh()
    other.refresh()
    assert result.return_value == other.return_value == 1


def test_neither_it_nor_the_package_imports_pytest() -> None:
    code = (
        "import sys, django; from django.conf import settings; import project.settings;"
        "django.setup(); import tasks_app, tasks_app.testing;"
        "sys.exit('pytest' in sys.modules)"
    )
    environment = {"DJANGO_SETTINGS_MODULE": "project.settings", "DEBUG": "1"}
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=root)
