"""What Django's Tasks API promises of a backend, held against ours: definitions and results.

Written from the API's documentation; test_django_tasks_running.py is about what workers do.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections import UserDict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from tasks_app import api
from tasks_app.backend import SignalboxBackend
from tasks_app.compat import (
    InvalidTaskBackendError,
    InvalidTaskError,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
)
from tasks_app.definition import TaskDefinition
from tasks_app.errors import InvalidTask
from tests import django_sample_tasks as samples

OURS = "tasks_app.backend.SignalboxBackend"
BOTH = pytest.mark.parametrize("sample", [samples.plain, samples.plain_async])


def module_level(context: Any) -> None: ...


def without_context(value: int) -> None: ...


# --- definitions ----------------------------------------------------------------------------------


def test_the_backend_says_what_it_can_do() -> None:
    backend = task_backends["default"]
    assert isinstance(backend, SignalboxBackend)
    assert backend.alias == "default"
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority
    assert backend.task_class is TaskDefinition


def test_djangos_decorator_makes_our_definitions() -> None:
    assert isinstance(samples.plain, TaskDefinition)
    assert isinstance(samples.plain_async, TaskDefinition)
    assert samples.plain.name == "plain"
    assert samples.plain.module_path == "tests.django_sample_tasks.plain"
    assert samples.plain.get_backend() is task_backends["default"]
    assert (samples.mail.priority, samples.mail.queue_name) == (7, "mail")


def test_defaults() -> None:
    definition = samples.plain
    assert (definition.priority, definition.queue_name, definition.backend) == (
        0, "default", "default",
    )  # fmt: skip
    assert definition.run_after is None
    assert definition.takes_context is False
    assert samples.look.takes_context is True


def test_using_makes_a_changed_copy() -> None:
    when = timezone.now() + timedelta(hours=1)
    changed = samples.plain.using(priority=-5, queue_name="low", run_after=when)
    assert (changed.priority, changed.queue_name, changed.run_after) == (-5, "low", when)
    assert changed.func is samples.plain.func
    assert (samples.plain.priority, samples.plain.queue_name) == (0, "default")
    assert samples.plain.run_after is None
    assert changed.using(priority=1).queue_name == "low"


def test_using_nothing_makes_an_equal_one() -> None:
    same = samples.plain.using()
    assert same == samples.plain
    assert same is not samples.plain


def test_a_definition_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        samples.plain.priority = 3


def test_a_definition_is_copied_and_pickled() -> None:
    changed = samples.plain.using(priority=3, queue_name="low")
    assert copy.deepcopy(changed) == copy.copy(changed) == changed
    assert pickle.loads(pickle.dumps(changed)) == changed  # noqa: S301 our own bytes


@pytest.mark.parametrize("priority", [101, -101, 1.5])
def test_impossible_priorities(priority: Any) -> None:
    with pytest.raises(InvalidTaskError, match="whole number between -100 and 100"):
        samples.plain.using(priority=priority)


@pytest.mark.parametrize("priority", [100, -100])
def test_possible_priorities(priority: int) -> None:
    assert samples.plain.using(priority=priority).priority == priority


def test_functions_that_no_worker_could_find() -> None:
    def local() -> None: ...

    class Holder:
        def method(self) -> None: ...

    for function in (any, local, lambda: None, Holder().method, "text"):
        with pytest.raises(InvalidTaskError, match="module level"):
            samples.task()(function)


def test_a_task_with_context_names_it() -> None:
    assert samples.task(takes_context=True)(module_level).takes_context
    with pytest.raises(InvalidTaskError, match="context"):
        samples.task(takes_context=True)(without_context)


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidTaskError, match="aware"):
        samples.plain.using(run_after=datetime(2030, 1, 1))  # noqa: DTZ001 what is tested


def test_run_after_belongs_to_using() -> None:
    with pytest.raises((InvalidTaskError, TypeError), match="run_after"):
        samples.task(run_after=datetime.now(UTC))(module_level)


def test_unknown_backends_and_queues_are_refused(settings: Any) -> None:
    with pytest.raises(InvalidTaskBackendError):
        samples.plain.using(backend="nowhere")
    settings.TASKS = {"default": {"BACKEND": OURS, "QUEUES": ["a", "b"]}}
    assert samples.plain.using(queue_name="b").queue_name == "b"
    with pytest.raises(InvalidTaskError, match="c"):
        samples.plain.using(queue_name="c")
    with pytest.raises(InvalidTaskError):  # defined before, for a queue that is gone
        samples.plain.enqueue()


def test_our_own_refusals_are_djangos_too() -> None:
    with pytest.raises(InvalidTaskError, match="timeout"):
        samples.plain.using(timeout=-1)
    with pytest.raises(InvalidTask, match="timeout"):
        samples.plain.using(timeout=-1)


@BOTH
def test_call_runs_the_function_here(sample: Any) -> None:
    assert sample.call(1, two=2) == [[1], {"two": 2}]


@BOTH
async def test_acall_runs_the_function_here(sample: Any) -> None:
    assert await sample.acall(1, two=2) == [[1], {"two": 2}]


# --- enqueueing -----------------------------------------------------------------------------------


def check_fresh(result: Any, sample: Any) -> None:
    assert result.status is TaskResultStatus.READY
    assert result.task is sample
    assert (result.args, result.kwargs) == ([1], {"two": 3})
    assert isinstance(result.id, str)
    assert 0 < len(result.id) <= 64
    assert result.backend == "default"
    assert timezone.is_aware(result.enqueued_at)
    assert result.started_at is result.finished_at is result.last_attempted_at is None
    assert (result.errors, result.worker_ids, result.attempts) == ([], [], 0)
    assert result.is_finished is False
    with pytest.raises(ValueError, match="Task has not finished yet"):
        result.return_value  # noqa: B018 what is tested


@BOTH
def test_enqueue(sample: Any) -> None:
    result = sample.enqueue(1, two=3)
    check_fresh(result, sample)
    assert result == sample.get_result(result.id)
    assert result == task_backends["default"].get_result(result.id)


@BOTH
async def test_aenqueue(engine: None, sample: Any) -> None:
    result = await sample.aenqueue(1, two=3)
    check_fresh(result, sample)
    assert result == await sample.aget_result(result.id)
    assert result == await task_backends["default"].aget_result(result.id)


def test_the_backend_enqueues_too() -> None:
    result = task_backends["default"].enqueue(samples.plain, (1,), {"two": 3})
    check_fresh(result, samples.plain)


async def test_the_backend_enqueues_asynchronously(engine: None) -> None:
    result = await task_backends["default"].aenqueue(samples.plain, [1], {"two": 3})
    check_fresh(result, samples.plain)


def test_each_enqueue_is_a_task_of_its_own() -> None:
    assert samples.plain.enqueue().id != samples.plain.enqueue().id


def test_a_read_result_shows_the_place_it_was_given() -> None:
    when = timezone.now().replace(microsecond=0) + timedelta(days=1)
    used = samples.plain.using(priority=9, queue_name="mail", run_after=when)
    task = samples.plain.get_result(used.enqueue().id).task
    assert (task.priority, task.queue_name, task.run_after) == (9, "mail", when)
    assert task == used


def test_arguments_become_json() -> None:
    result = samples.plain.enqueue((1, (2,)), b"text", a=UserDict(b=range(2)))
    assert (result.args, result.kwargs) == ([[1, [2]], "text"], {"a": {"b": [0, 1]}})
    assert result == samples.plain.get_result(result.id)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (datetime.now(UTC), TypeError),
        (object(), TypeError),
        ({1}, TypeError),
        (b"\xff", ValueError),
    ],
)
async def test_arguments_that_are_no_json(engine: None, value: Any, error: type) -> None:
    with pytest.raises(error):
        await samples.plain.aenqueue(value)
    with pytest.raises(error):
        await sync_to_async(samples.plain.enqueue)(a=[value])
    with pytest.raises(error):
        await samples.plain.using(enqueue_on_commit=True).aenqueue(value)
    assert await api.unfinished_ids() == []


# --- reading --------------------------------------------------------------------------------------


async def test_refreshing_what_has_not_changed_changes_nothing(engine: None) -> None:
    result = await samples.plain.aenqueue(1)
    before = dataclasses.asdict(result)
    await result.arefresh()
    assert dataclasses.asdict(result) == before
    await sync_to_async(result.refresh)()
    assert dataclasses.asdict(result) == before


async def test_a_result_is_copied_and_pickled(engine: None) -> None:
    result = await samples.plain.aenqueue(1)
    assert copy.copy(result) == copy.deepcopy(result) == result
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301 our own bytes
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.status = TaskResultStatus.FAILED


async def test_results_that_are_not_there(engine: None) -> None:
    for task_id in ("123", "", "../..", "x" * 65):
        with pytest.raises(TaskResultDoesNotExist):
            await samples.plain.aget_result(task_id)
        with pytest.raises(TaskResultDoesNotExist):
            await sync_to_async(samples.plain.get_result)(task_id)
        with pytest.raises(TaskResultDoesNotExist):
            await task_backends["default"].aget_result(task_id)


async def test_results_of_another_task(engine: None) -> None:
    result = await samples.plain.aenqueue()
    with pytest.raises(TaskResultMismatch):
        await samples.mail.aget_result(result.id)
    with pytest.raises(TaskResultMismatch):
        await sync_to_async(samples.mail.get_result)(result.id)


# --- several backends -----------------------------------------------------------------------------


async def test_aliases_share_the_engine_and_keep_their_names(engine: None, settings: Any) -> None:
    settings.TASKS = {
        "default": {"BACKEND": OURS, "QUEUES": []},
        "mailer": {"BACKEND": OURS, "QUEUES": ["mail"]},
        "nothing": {"BACKEND": f"{samples.PACKAGE}.backends.dummy.DummyBackend"},
    }
    used = samples.plain.using(backend="mailer", queue_name="mail")
    assert used.get_backend().alias == "mailer"
    result = await used.aenqueue(1)
    assert result.backend == "mailer"
    again = await samples.plain.aget_result(result.id)
    assert (again.backend, again.task.backend) == ("mailer", "mailer")
    assert again == result
    with pytest.raises(InvalidTaskError):
        samples.plain.using(backend="mailer")  # its queue is not one of that backend
    # Another's backend takes our definitions; it does not know our options.
    elsewhere = samples.plain.using(backend="nothing", timeout=5)
    assert (await elsewhere.aenqueue()).backend == "nothing"
