"""The engine as a backend of Django's Tasks API: what its callers get, at once and later."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from tasks_app import api
from tasks_app.compat import (
    DjangoTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
)
from tasks_app.domain.states import TaskState
from tasks_app.errors import InvalidTask, TaskCanceled
from tasks_app.worker.worker import Worker
from tests import sample_tasks


async def test_a_task_enqueued_by_django_runs_and_its_result_is_read(worker: Worker) -> None:
    result = await sample_tasks.add.using(item_id="chat-1").aenqueue(2, b=3)
    assert (result.status, result.args, result.kwargs) == (TaskResultStatus.READY, [2], {"b": 3})
    assert not result.is_finished
    task = await api.wait_task(result.id, 10)
    assert (task.item_id, task.result) == ("chat-1", 5)
    await result.arefresh()
    assert result.status is TaskResultStatus.SUCCESSFUL
    assert (result.return_value, result.worker_ids) == (5, [worker.instance])
    assert result.started_at is not None
    again = await sample_tasks.add.aget_result(result.id)
    assert (again.return_value, again.args, again.kwargs) == (5, [2], {"b": 3})


async def test_synchronous_code_enqueues_and_reads_too(worker: Worker) -> None:
    result = await sync_to_async(sample_tasks.add_in_thread.enqueue)(2, 3)
    assert result.args == [2, 3]
    await api.wait_task(result.id, 10)
    await sync_to_async(result.refresh)()
    assert result.return_value == 5


async def test_failed_and_canceled_tasks_say_why(worker: Worker) -> None:
    failed = await sample_tasks.fail.aenqueue()
    await api.wait_task(failed.id, 10)
    await failed.arefresh()
    assert failed.status is TaskResultStatus.FAILED
    [error] = failed.errors
    assert error.exception_class is ValueError
    assert error.traceback.endswith("ValueError: the reason\n")
    assert "sample_tasks.py" in error.traceback
    waiting = await sample_tasks.add.using(run_after=timezone.now() + timedelta(hours=1)).aenqueue(
        1, 2
    )
    assert (await api.get_task(waiting.id)).status is TaskState.SCHEDULED
    await api.stop_task(waiting.id, by="alice")
    await waiting.arefresh()
    assert waiting.status is TaskResultStatus.FAILED
    [error] = waiting.errors
    assert error.exception_class is TaskCanceled
    assert error.traceback == "Stopped by alice (user).\n"


async def test_a_task_made_by_django_itself_runs_too(worker: Worker) -> None:
    assert type(sample_tasks.foreign) is DjangoTask
    result = await sample_tasks.foreign.aenqueue("ab")
    assert (await api.wait_task(result.id, 10)).result == "abab"
    assert (await sample_tasks.foreign.aget_result(result.id)).return_value == "abab"


async def test_results_of_others_and_of_nobody_are_refused(worker: Worker) -> None:
    result = await sample_tasks.add.aenqueue(1, 2)
    with pytest.raises(TaskResultMismatch):
        await sample_tasks.fail.aget_result(result.id)
    for task_id in ("nobody", "../x", ""):
        with pytest.raises(TaskResultDoesNotExist):
            await sample_tasks.add.aget_result(task_id)
        with pytest.raises(TaskResultDoesNotExist):
            await sync_to_async(sample_tasks.add.get_result)(task_id)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_id", 7), ("user_id", None), ("item_id", 7), ("unique_key", 5), ("timeout", "5"),
        ("timeout", True), ("expires_in", float("inf")), ("debounce", float("nan")),
        ("concurrency", 1.5), ("max_deliveries", 0), ("priority", True), ("priority", "high"),
        ("queue_name", ""), ("queue_name", 5), ("retry", 3), ("enqueue_on_commit", "no"),
        ("detached", "x"),
    ],
)  # fmt: skip
def test_options_of_the_wrong_kind_are_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidTask, match=name):
        sample_tasks.add.using(**{name: value})


def test_impossible_options_are_refused_when_they_are_named() -> None:
    with pytest.raises(InvalidTask, match="timeout"):
        sample_tasks.add.using(timeout=0)
    with pytest.raises(InvalidTask, match="speed"):
        sample_tasks.add.using(speed=1)  # type: ignore[call-arg] # what is tested
    with pytest.raises(InvalidTask, match="item_id"):
        sample_tasks.add.using(item_id="x" * 201)
