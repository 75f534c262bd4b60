"""What Django's Tasks API promises of tasks that run: results, errors, contexts, signals."""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from tasks_app import api, signals
from tasks_app.backend import SignalboxBackend
from tasks_app.compat import (
    LOGGER,
    DjangoTaskContext,
    TaskResult,
    TaskResultStatus,
    task_enqueued,
    task_finished,
    task_started,
)
from tasks_app.context import TaskContext
from tasks_app.domain.traces import LONGEST_TRACEBACK
from tasks_app.errors import InvalidResult, TaskCanceled, TaskExpired
from tasks_app.worker.worker import Worker
from tests import django_sample_tasks as samples
from tests import sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually

DATABASE = pytest.mark.django_db(transaction=True)  # receivers run where the ORM is used
SUCCESSFUL, FAILED = TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED


@pytest.fixture(autouse=True)
def seen() -> list[Any]:
    samples.SEEN.clear()
    return samples.SEEN


async def ended(result: Any) -> Any:
    """Wait for the task's end and refresh the result."""
    await api.wait_task(result.id, 10)
    await result.arefresh()
    return result


# --- results --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [samples.plain, samples.plain_async])
async def test_success(worker: Worker, sample: Any) -> None:
    result = await ended(await sample.aenqueue(1, two=3))
    assert result.status is SUCCESSFUL
    assert result.is_finished
    assert result.return_value == [[1], {"two": 3}]
    assert result.errors == []
    assert (result.worker_ids, result.attempts) == ([worker.instance], 1)
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.last_attempted_at == result.started_at
    assert (result.args, result.kwargs) == ([1], {"two": 3})


async def test_what_a_task_returns_becomes_json(worker: Worker) -> None:
    assert (await ended(await samples.as_tuple.aenqueue())).return_value == [1, {"a": [2]}, "text"]


async def test_what_cannot_become_json_fails_the_task(worker: Worker) -> None:
    result = await ended(await samples.unstorable.aenqueue())
    assert result.status is FAILED
    assert [error.exception_class for error in result.errors] == [InvalidResult]


async def test_failure(worker: Worker) -> None:
    result = await ended(await samples.odd.aenqueue())
    assert result.status is FAILED
    assert result.is_finished
    with pytest.raises(ValueError, match="Task failed"):
        result.return_value  # noqa: B018 what is tested
    [error] = result.errors
    assert error.exception_class_path == "tests.django_sample_tasks.OddError"
    assert error.exception_class is samples.OddError
    assert "django_sample_tasks.py" in error.traceback
    assert error.traceback.endswith("tests.django_sample_tasks.OddError: so it is\n")
    assert result.finished_at is not None
    assert (result.worker_ids, result.attempts) == ([worker.instance], 1)


async def test_the_traceback_tells_the_cause(worker: Worker) -> None:
    [error] = (await ended(await samples.caused.aenqueue())).errors
    assert "KeyError: 'the cause'" in error.traceback
    assert "direct cause" in error.traceback


async def test_an_exception_that_no_path_leads_to(worker: Worker) -> None:
    [error] = (await ended(await samples.hidden.aenqueue())).errors
    assert error.exception_class_path == "tests.django_sample_tasks.Outer.Hidden"
    with pytest.raises(ImportError):  # as in Django
        error.exception_class  # noqa: B018 what is tested


async def test_leaving_is_a_failure(worker: Worker) -> None:
    [error] = (await ended(await samples.leave.aenqueue())).errors
    assert error.exception_class is SystemExit


async def test_a_traceback_has_a_bound(worker: Worker) -> None:
    [error] = (await ended(await samples.endless_message.aenqueue())).errors
    assert error.traceback.startswith("Traceback")
    assert len(error.traceback) <= LONGEST_TRACEBACK


async def test_users_never_see_the_traceback(worker: Worker) -> None:
    result = await ended(await samples.odd.aenqueue())
    task = await api.get_task(result.id)
    assert task.error == {"type": "OddError", "message": "so it is"}
    assert "django_sample_tasks.py" not in str(task.resource())
    async with contextlib.aclosing(api.follow(result.id)) as events:
        assert "django_sample_tasks.py" not in str([event async for event in events])


async def test_a_time_out_is_named(worker: Worker) -> None:
    [error] = (await ended(await sample_tasks.too_slow.aenqueue())).errors
    assert error.exception_class is TimeoutError


async def test_errors_of_attempts_go_with_success(worker: Worker, tmp_path: Path) -> None:
    result = await ended(await sample_tasks.fail_until_third.aenqueue(str(tmp_path / "tries")))
    assert (result.status, result.return_value, result.errors) == (SUCCESSFUL, 3, [])
    assert (result.attempts, result.worker_ids) == (3, [worker.instance] * 3)


async def test_while_a_retry_waits_its_reason_is_shown(worker: Worker, tmp_path: Path) -> None:
    result = await sample_tasks.fail_once_then_wait.aenqueue()

    async def waits() -> bool:
        await result.arefresh()
        return bool(result.errors)

    await eventually(waits)
    assert (result.status, result.attempts) == (TaskResultStatus.READY, 1)
    assert result.errors[0].exception_class is sample_tasks.Unreachable


async def test_a_stopped_task_has_failed(worker: Worker) -> None:
    result = await sample_tasks.wait_for_stop.aenqueue()
    await eventually(lambda: _is_running(result))
    await api.stop_task(result.id, by="alice", wait=5)
    await result.arefresh()
    assert result.status is FAILED
    [error] = result.errors
    assert error.exception_class is TaskCanceled
    assert error.traceback == "Stopped by alice (user).\n"


async def _is_running(result: Any) -> bool:
    await result.arefresh()
    return result.status is TaskResultStatus.RUNNING


async def test_a_task_that_expired_has_failed(engine: None) -> None:
    result = await sample_tasks.add.using(expires_in=0.001).aenqueue(1, 2)
    async with running(Worker(name="late", grace=0.2)):
        await ended(result)
    assert result.status is FAILED
    assert [error.exception_class for error in result.errors] == [TaskExpired]
    assert result.attempts == 0


async def test_a_handed_back_task_counts_its_workers(engine: None) -> None:
    result = await sample_tasks.wait_for_stop.aenqueue()
    first = Worker(name="first", grace=0.0)
    async with running(first):
        await eventually(lambda: _is_running(result))
    await result.arefresh()
    assert (result.status, result.worker_ids) == (TaskResultStatus.READY, [first.instance])
    second = Worker(name="second", grace=0.0)
    async with running(second):
        await eventually(lambda: _is_running(result))
        assert result.worker_ids == [first.instance, second.instance]
        await api.stop_task(result.id, by="test", wait=5)


# --- order and place ------------------------------------------------------------------------------


async def test_higher_priorities_run_first(engine: None, seen: list[Any]) -> None:
    for priority in (0, -100, 100, 5):
        last = await samples.note.using(priority=priority).aenqueue(priority)
    async with running(Worker(name="one", concurrency=1, grace=0.2)):
        await ended(last)
        await eventually(lambda: _has(seen, 4))
    assert seen == [100, 5, 0, -100]


async def _has(seen: list[Any], number: int) -> bool:
    return len(seen) == number


async def test_a_worker_takes_its_queues_only(worker: Worker, seen: list[Any]) -> None:
    other = await samples.note.using(queue_name="other").aenqueue("other")
    await ended(await samples.note.aenqueue("ours"))
    await other.arefresh()
    assert (seen, other.status) == (["ours"], TaskResultStatus.READY)


async def test_run_after_is_waited_for(worker: Worker, seen: list[Any]) -> None:
    later = await samples.note.using(run_after=timezone.now() + timedelta(days=1)).aenqueue(1)
    past = await samples.note.using(run_after=timezone.now() - timedelta(days=1)).aenqueue(2)
    soon = await samples.note.using(run_after=timezone.now() + timedelta(milliseconds=50)).aenqueue(
        3
    )
    await ended(past)
    await ended(soon)
    await later.arefresh()
    assert (seen, later.status) == ([2, 3], TaskResultStatus.READY)


# --- contexts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [samples.look, samples.look_async])
async def test_the_context_is_djangos(worker: Worker, seen: list[Any], sample: Any) -> None:
    result = await ended(await sample.aenqueue("word"))
    assert result.return_value == [1, result.id, "word"]
    [context] = seen
    assert isinstance(context, DjangoTaskContext)
    assert isinstance(context, TaskContext)
    shown = context.task_result
    assert isinstance(shown, TaskResult)
    assert shown is context.task_result
    assert (shown.id, shown.task, shown.backend) == (result.id, sample, "default")
    assert (shown.args, shown.kwargs) == (["word"], {})
    assert shown.status is TaskResultStatus.RUNNING
    assert shown.enqueued_at == result.enqueued_at
    assert shown.started_at is not None
    assert shown.finished_at is None
    assert (shown.worker_ids, shown.attempts) == ([worker.instance], 1)
    assert len({context, context}) == 1
    assert result.id in repr(context)


async def test_the_context_counts_attempts(worker: Worker) -> None:
    result = await ended(await sample_tasks.count_attempts.aenqueue())
    assert result.return_value == [3, 3, [worker.instance] * 3]


# --- signals --------------------------------------------------------------------------------------

Told = list[tuple[str, type, Any, Any]]  # what, sender, result, the exception being handled


@contextlib.contextmanager
def listening(told: Told) -> Iterator[None]:
    receivers = {}
    for name, signal in (
        ("enqueued", task_enqueued),
        ("started", task_started),
        ("finished", task_finished),
    ):

        def receive(sender: type, task_result: Any, name: str = name, **_: Any) -> None:
            told.append((name, sender, copy.copy(task_result), sys.exc_info()[1]))

        receivers[signal] = receive
        signal.connect(receive)
    try:
        yield
    finally:
        for signal, receive in receivers.items():
            signal.disconnect(receive)


@pytest.fixture
async def told(engine: None) -> AsyncIterator[Told]:
    """Collect what the signals tell while a worker runs; complete once that has left."""
    found: Told = []
    with listening(found):
        yield found


def names(told: Told, result: Any) -> list[str]:
    return [name for name, _, told_result, _ in told if told_result.id == result.id]


@DATABASE
async def test_signals_tell_a_tasks_life(told: Told) -> None:
    async with running(Worker(name="teller", grace=0.2)) as worker:
        result = await ended(await samples.plain.aenqueue(1))
    assert [(name, sender) for name, sender, _, _ in told] == [
        ("enqueued", SignalboxBackend), ("started", SignalboxBackend),
        ("finished", SignalboxBackend),
    ]  # fmt: skip
    first, second, third = (told_result for _, _, told_result, _ in told)
    assert {told_result.id for told_result in (first, second, third)} == {result.id}
    assert first.status is TaskResultStatus.READY
    assert second.status is TaskResultStatus.RUNNING
    assert second.worker_ids == [worker.instance]
    assert third == result
    assert third.return_value == [[1], {}]


@DATABASE
async def test_a_failure_is_told_with_its_exception(told: Told) -> None:
    async with running(Worker(name="teller", grace=0.2)):
        result = await ended(await samples.odd.aenqueue())
    name, _, last, error = told[-1]
    assert (name, last.status) == ("finished", FAILED)
    assert last == result
    assert isinstance(error, samples.OddError)


@DATABASE
async def test_a_retried_task_finishes_once(told: Told, tmp_path: Path) -> None:
    async with running(Worker(name="teller", grace=0.2)):
        result = await ended(await sample_tasks.fail_until_third.aenqueue(str(tmp_path / "tries")))
    assert names(told, result) == ["enqueued", "started", "started", "started", "finished"]


@DATABASE
async def test_a_stopped_task_finishes(told: Told) -> None:
    async with running(Worker(name="teller", grace=0.2)):
        result = await sample_tasks.wait_for_stop.aenqueue()
        await eventually(lambda: _is_running(result))
        await api.stop_task(result.id, by="alice", wait=5)
    assert names(told, result) == ["enqueued", "started", "finished"]
    assert told[-1][2].errors[0].exception_class is TaskCanceled


@DATABASE
async def test_many_enqueued_at_once_are_told_one_by_one(told: Told) -> None:
    await sample_tasks.add.aenqueue_many([((1, 2), {}), ((3, 4), {})])
    assert [(name, result.args) for name, _, result, _ in told] == [
        ("enqueued", [1, 2]), ("enqueued", [3, 4]),
    ]  # fmt: skip


@DATABASE
async def test_receivers_may_be_coroutines_and_may_fail(engine: None) -> None:
    told: list[str] = []

    async def listen(task_result: Any, **_: Any) -> None:
        told.append(task_result.id)
        raise RuntimeError("a receiver's own trouble")

    task_started.connect(listen)
    task_finished.connect(listen)
    try:
        async with running(Worker(name="teller", grace=0.2)):
            result = await ended(await samples.plain.aenqueue())
    finally:
        task_started.disconnect(listen)
        task_finished.disconnect(listen)
    assert told == [result.id, result.id]
    assert result.status is SUCCESSFUL


def test_only_djangos_own_log_hears_and_only_at_its_level() -> None:
    log = logging.getLogger(LOGGER)
    before = log.level
    try:
        assert not signals.is_end_heard(None)
        log.setLevel(logging.WARNING)
        assert not any(map(signals.is_heard, (task_enqueued, task_started, task_finished)))
        log.setLevel(logging.INFO)
        assert not signals.is_heard(task_enqueued)
        assert signals.is_heard(task_started)
        log.setLevel(logging.WARNING)
        with listening([]):
            assert all(map(signals.is_heard, (task_enqueued, task_started, task_finished)))
    finally:
        log.setLevel(before)


async def test_djangos_log_hears_when_its_level_is_on(
    engine: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, LOGGER):
        async with running(Worker(name="teller", grace=0.2)):
            fine = await ended(await samples.plain.aenqueue())
    lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert [fine.id in line for line in lines] == [True] * 3
    assert ["enqueued" in lines[0], "RUNNING" in lines[1], "SUCCESSFUL" in lines[2]] == [True] * 3


async def test_djangos_log_reports_failures_but_no_stops(
    engine: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        async with running(Worker(name="teller", grace=0.2)):
            failed = await ended(await samples.odd.aenqueue())
            stopped = await sample_tasks.wait_for_stop.aenqueue()
            await eventually(lambda: _is_running(stopped))
            await api.stop_task(stopped.id, by="alice", wait=5)
    [record] = [record for record in caplog.records if record.name == LOGGER]
    assert record.levelno == logging.ERROR
    assert failed.id in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], samples.OddError)
