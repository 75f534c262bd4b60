"""Tasks that live as long as the client that waits for them: enqueued, watched, left."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final
from weakref import WeakKeyDictionary

from tasks_app import api
from tasks_app.definition import TaskDefinition
from tasks_app.errors import (
    AlreadyFinished,
    NoWorker,
    StoreUnavailable,
    TaskNotFound,
    TasksError,
)
from tasks_app.rest.errors import ApiError

log = logging.getLogger("signalbox.rest")

# A little less than the contract's 3 s, within which the client is to have its answer.
CHECK_SECONDS = 2.8
LONGEST_CALL_SECONDS = 3600.0
LEAVE_SECONDS = 2.0  # so long is the first try of a stop waited for
LEAVE_TRIES = 120
# An enqueue that was not answered may still be on its way: for so many tries it may yet appear.
APPEAR_TRIES = 5

SHUTDOWN_SECONDS = 2.5  # within which the server's clients are told and their tasks stopped

_leaving: set[asyncio.Task[None]] = set()  # stops under way, owned here until they are done
_attended: set[str] = set()  # ids of the tasks whose clients wait in this process


class _Shutdown:
    """Whether the server is ending, and a sign for each task that is left."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.left = asyncio.Event()


_shutdowns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shutdown] = WeakKeyDictionary()


def _shutdown() -> _Shutdown:
    return _shutdowns.setdefault(asyncio.get_running_loop(), _Shutdown())


async def shut_down() -> None:
    """Break off what clients wait for: they are told, and their tasks are stopped.

    For a server that ends, before it cancels its requests: those cannot tell why they are.
    """
    state = _shutdown()
    state.begun.set()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SHUTDOWN_SECONDS):
            while _attended:
                state.left.clear()
                await state.left.wait()


async def enqueue(definition: TaskDefinition[..., Any], body: Any, ask: api.Ask) -> api.Task:
    """Enqueue a task for a waiting client.

    Should the client go meanwhile, or be told that Redis did not answer, the task is stopped.
    """
    new = api.prepare_task(definition, (), {"body": body}, ask)
    enqueuing = asyncio.create_task(api.send_task(new, ask), name="enqueue")
    try:
        task = await asyncio.shield(enqueuing)
    except (asyncio.CancelledError, StoreUnavailable):
        _keep(asyncio.create_task(_leave_enqueued(new.id, enqueuing), name="leave enqueued task"))
        raise
    _attended.add(task.id)
    return task


async def until_end(task: api.Task) -> api.Task:
    """Return the task once it has finished; if this is left in any other way, it is stopped.

    Raises NoWorker when nobody claims it, StoreUnavailable, TaskNotFound.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LONGEST_CALL_SECONDS
    seen, reason = task, "client_gone"
    try:
        while not seen.is_finished:
            seen = await _unless_shut_down(api.wait_task(task.id, CHECK_SECONDS))
            await ensure_served(seen)
            if loop.time() > deadline:
                raise took_too_long()
    except (NoWorker, ApiError) as error:
        reason = reason_of(error)
        raise
    finally:
        if seen.is_finished:
            release(task.id)
        else:
            await leave(task.id, reason)
    return seen


async def _unless_shut_down(waiting: Coroutine[Any, Any, api.Task]) -> api.Task:
    waiter = asyncio.create_task(waiting, name="wait for a task")
    begun = asyncio.create_task(_shutdown().begun.wait(), name="wait for a shutdown")
    try:
        await asyncio.wait({waiter, begun}, return_when=asyncio.FIRST_COMPLETED)
        if not waiter.done():
            raise restarting()
        return waiter.result()
    finally:
        await api.end_owned(waiter, begun)


async def ensure_served(task: api.Task) -> None:
    """Raise NoWorker when nobody is there who will claim the task, or go on with it."""
    if task.is_finished:
        return
    if not await api.is_served(task.queue):
        raise NoWorker
    is_waiting = task.status in {api.TaskState.SCHEDULED, api.TaskState.QUEUED}
    if (
        is_waiting
        and task.created_at
        and not await api.is_served_since(task.queue, task.created_at)
    ):
        raise NoWorker


def restarting() -> ApiError:
    detail = "The server is restarting. Try again in a moment."
    return ApiError(503, detail, error_type="shutdown", headers={"Retry-After": "2"})


def took_too_long() -> ApiError:
    detail = (
        f"The task did not finish within {LONGEST_CALL_SECONDS:g} s and was stopped. "
        "Use `Prefer: respond-async` for work that takes so long."
    )
    return ApiError(503, detail, error_type="timeout", headers={"Retry-After": "60"})


def reason_of(error: BaseException) -> str:
    """Return the reason with which a task is stopped when its client is answered so."""
    if isinstance(error, NoWorker):
        return "no_worker"
    if isinstance(error, ApiError):
        # timeout, shutdown, restart, output_lost: we broke it off, not the client
        return error.error_type
    return "client_gone"


def release(task_id: str) -> None:
    """Note that the task has ended: nobody needs to stop it any more."""
    _attended.discard(task_id)
    _shutdown().left.set()


async def leave(task_id: str, reason: str = "client_gone") -> None:
    """Stop a task that nobody waits for any more; survives the cancellation of its caller.

    Waits for the first try; where Redis did not take it, further tries go on behind.
    """
    tried = asyncio.Event()
    _keep(asyncio.create_task(_stop(task_id, reason, tried), name=f"leave {task_id}"))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_SECONDS):
            await tried.wait()


async def _leave_enqueued(task_id: str, enqueuing: asyncio.Task[api.Task]) -> None:
    await asyncio.wait({enqueuing})
    error = None if enqueuing.cancelled() else enqueuing.exception()
    if error is None or isinstance(error, StoreUnavailable):
        appears = APPEAR_TRIES if error is not None else 0
        await _stop(task_id, "client_gone", asyncio.Event(), appears=appears)


async def _stop(task_id: str, reason: str, tried: asyncio.Event, *, appears: int = 0) -> None:
    """Stop a task; one that is not there is looked for `appears` times again."""
    for _ in range(LEAVE_TRIES):
        try:
            await api.stop_task(task_id, by="system", reason=reason)
        except StoreUnavailable:
            tried.set()
            await asyncio.sleep(1.0)
            continue
        except TaskNotFound:
            if appears > 0:
                appears -= 1
                await asyncio.sleep(1.0)
                continue
        except AlreadyFinished:
            pass
        else:
            log.info("task_left task_id=%s reason=%s", task_id, reason)
        tried.set()
        release(task_id)
        return
    log.error("task_left_running task_id=%s reason=%s: Redis did not answer", task_id, reason)


@atexit.register
def _leave_all() -> None:
    """Stop what clients still waited for when the server ended: some servers cancel no request."""
    for task_id in tuple(_attended):
        try:
            api.stop_task_sync(task_id, by="system", reason="shutdown")
        except TasksError:
            return  # Redis is away as well


def _keep(task: asyncio.Task[None]) -> asyncio.Task[None]:
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)
    return task


class Ended:
    """What a follower returns after the last event."""


ENDED: Final = Ended()


class Follower:
    """A task's events, one at a time, with a limit to each wait that loses none of them."""

    def __init__(self, task_id: str, last_event_id: str | None = None) -> None:
        self._events: AsyncGenerator[api.Event] = api.follow(task_id, last_event_id)
        self._pending: asyncio.Task[api.Event | Ended] | None = None
        self._begun: asyncio.Task[bool] | None = None  # waits for the server's shutdown

    async def next(self, within: float) -> api.Event | Ended | None:
        """Return the next event, ENDED after the last, None when none came in time.

        Raises ApiError when the server shuts down.
        """
        if self._pending is None:
            self._pending = asyncio.create_task(self._advance(), name="next event")
        if self._begun is None:
            self._begun = asyncio.create_task(_shutdown().begun.wait(), name="wait for a shutdown")
        await asyncio.wait(
            {self._pending, self._begun}, timeout=within, return_when=asyncio.FIRST_COMPLETED
        )
        if not self._pending.done():
            if self._begun.done():
                raise restarting()
            return None
        arrived, self._pending = self._pending, None
        return arrived.result()

    async def aclose(self) -> None:
        """End the subscription."""
        waiting = [task for task in (self._begun, self._pending) if task is not None]
        await api.end_owned(*waiting)
        await self._events.aclose()

    async def _advance(self) -> api.Event | Ended:
        return await anext(self._events, ENDED)
