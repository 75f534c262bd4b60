"""Runs tasks when they are enqueued, in the caller's process and without Redis: for quick tests."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction

from tasks_app import signals
from tasks_app.backend import SignalboxBackend, as_enqueued
from tasks_app.compat import (
    DjangoTask,
    TaskResult,
    TaskResultDoesNotExist,
    task_enqueued,
)
from tasks_app.definition import adopted, definition_at
from tasks_app.domain.records import Claimed, Fault, NewTask, Task
from tasks_app.domain.states import TaskState
from tasks_app.results import task_result
from tasks_app.services import enqueue
from tasks_app.services.enqueue import Arguments
from tasks_app.worker.announce import tell_end
from tasks_app.worker.attempt import Attempt, Ending, Outcome
from tasks_app.worker.executor import execute
from tasks_app.worker.output import Output

P = ParamSpec("P")
T = TypeVar("T")

KEPT = 1000  # finished tasks, the newest
WORKER = "immediate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a task that ran immediately put out, in its last attempt."""

    text: str  # its tokens
    events: tuple[tuple[str, Any], ...]  # its own and `token` events, in order
    progress: float | None
    message: str
    attempts: int


_kept: OrderedDict[str, tuple[Task, Ran]] = OrderedDict()
_lock = threading.Lock()


def ran(result: TaskResult[Any]) -> Ran:
    """Return what a task of the ImmediateBackend put out. Raises TaskResultDoesNotExist."""
    return _find(result.id)[1]


def _find(task_id: str) -> tuple[Task, Ran]:
    with _lock:
        if task_id not in _kept:
            raise TaskResultDoesNotExist(task_id)
        return _kept[task_id]


class ImmediateBackend(SignalboxBackend):
    """Runs each task to its end within `enqueue`, with our context, options, errors and signals.

    Nothing is waited for: `run_after`, `debounce` and the delays between retries pass at once.
    What needs other tasks to be waiting or running (unique and supersede keys, limits) does
    nothing. Synchronous code enqueues with `enqueue`, asynchronous code with `aenqueue`.
    """

    def enqueue(self, task: DjangoTask[P, T], args: Any, kwargs: Any) -> TaskResult[T]:
        self.validate_task(task)
        definition = adopted(task)
        new = enqueue.prepare(definition, args, kwargs)
        if definition.enqueue_on_commit and transaction.get_connection().in_atomic_block:
            transaction.on_commit(lambda: self._ran(new, task))
            return task_result(_waiting(new), task)
        return self._ran(new, task)

    async def aenqueue(self, task: DjangoTask[P, T], args: Any, kwargs: Any) -> TaskResult[T]:
        definition = adopted(task)
        if definition.enqueue_on_commit:
            return await sync_to_async(self.enqueue)(task, args, kwargs)
        self.validate_task(task)
        return await self._arun(enqueue.prepare(definition, args, kwargs), task)

    async def aenqueue_many(
        self, task: DjangoTask[P, T], calls: Iterable[Arguments]
    ) -> list[TaskResult[T]]:
        self.validate_task(task)
        definition = adopted(task)
        new = [enqueue.prepare(definition, args, kwargs) for args, kwargs in calls]
        return [await self._arun(one, task) for one in new]

    def get_result(self, result_id: str) -> TaskResult[Any]:
        record = _find(result_id)[0]
        return task_result(record, as_enqueued(definition_at(record.path), record))

    async def aget_result(self, result_id: str) -> TaskResult[Any]:
        return self.get_result(result_id)

    def _ran(self, new: NewTask, task: DjangoTask[..., T]) -> TaskResult[T]:
        return async_to_sync(self._arun)(new, task)

    async def _arun(self, new: NewTask, task: DjangoTask[..., T]) -> TaskResult[T]:
        record = _waiting(new)
        await signals.asend(task_enqueued, task_result(record, task))
        # A task of its own: what it sets of the context's variables is not the caller's.
        record, error = await asyncio.create_task(_run(record, new))
        caller = asyncio.current_task()
        if caller is not None and caller.cancelling():  # the task took the cancellation for its own
            raise asyncio.CancelledError
        await tell_end(record, error, in_worker=False)
        return task_result(record, task)


def _waiting(new: NewTask) -> Task:
    return Task(
        id=new.id,
        name=new.name,
        queue=new.queue,
        status=TaskState.QUEUED,
        seq=0,
        priority=new.priority,
        item_id=new.item_id or None,
        user_id=new.user_id or None,
        created_at=datetime.now(UTC),
        run_after=new.run_after,
        parent_id=new.parent_id or None,
        path=new.path,
        payload=json.loads(new.payload),
        backend=new.backend,
    )


async def _run(record: Task, new: NewTask) -> tuple[Task, BaseException | None]:
    """Make attempts, as the worker does, until one of them ends the task."""
    number = 0
    while True:
        number += 1
        started = datetime.now(UTC)
        attempt = _attempt(record, new, number)
        outcome = await execute(attempt, CallersThread())
        if outcome.ending is not Ending.RETRY:
            break
    workers = (WORKER,) * number
    record = replace(record, attempts=number, instance=WORKER, started_at=started, workers=workers)
    record = replace(_ended(record, outcome), finished_at=datetime.now(UTC))
    with _lock:
        _kept[record.id] = (record, _output(attempt.output, number))
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return record, outcome.error_raised


def _attempt(record: Task, new: NewTask, number: int) -> Attempt:
    claimed = Claimed(
        id=new.id,
        path=new.path,
        name=new.name,
        payload=new.payload,
        token=f"{WORKER}:{new.id}:{number}",
        attempt=number,
        failures=number - 1,
        item_id=new.item_id,
        user_id=new.user_id,
        timeout=new.timeout,
        backend=new.backend,
        created=int(record.created_at.timestamp() * 1000) if record.created_at else 0,
        past=f"{WORKER}\n" * (number - 1),
        retry=new.retry,
    )
    return Attempt(
        claimed=claimed, output=Output(lambda: None), on_wait=lambda _: None, in_worker=False
    )


def _ended(record: Task, outcome: Outcome) -> Task:
    if outcome.ending is Ending.SUCCEEDED:
        return replace(record, status=TaskState.SUCCEEDED, result=json.loads(outcome.result))
    fault = json.loads(outcome.fault)
    fault["class_path"] = fault.pop("class")
    return replace(
        record,
        status=TaskState.FAILED,
        error=json.loads(outcome.error),
        fault=Fault(**fault),
    )


def _output(output: Output, attempts: int) -> Ran:
    text, progress, message = "", None, ""
    events: list[tuple[str, Any]] = []
    while (flush := output.take()) is not None:
        text += flush.text
        events += [(kind, json.loads(data)) for kind, data in flush.events if kind != "progress"]
        if flush.progress is not None:
            progress, message = flush.progress, flush.message
        output.acknowledged()
    return Ran(
        text=text, events=tuple(events), progress=progress, message=message, attempts=attempts
    )


class CallersThread(Executor):
    """Runs synchronous functions where Django's ORM shows what the test has written.

    That is the thread of the synchronous code around us, or asgiref's one for such code.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        job: Future[Any] = Future()
        running = asyncio.create_task(self._run(job, lambda: fn(*args, **kwargs)))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return job

    async def _run(self, job: Future[Any], call: Callable[[], Any]) -> None:
        if not job.set_running_or_notify_cancel():
            return
        try:
            job.set_result(await sync_to_async(call)())
        except BaseException as error:  # noqa: BLE001 - whatever the function raises is the job's
            job.set_exception(error)
