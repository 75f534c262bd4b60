"""Enqueues tasks: checks the request, writes the record, answers it as it stands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from tasks_app import conf
from tasks_app.definition import TaskDefinition
from tasks_app.domain.codec import clean, dumps, dumps_any
from tasks_app.domain.context import current_task_id
from tasks_app.domain.records import NewTask, Task, from_ms
from tasks_app.domain.states import TaskState
from tasks_app.errors import InvalidArguments, InvalidTask, NoWorker, PayloadTooLarge, TaskNotFound
from tasks_app.services import inspect
from tasks_app.store import client, keys, scripts
from tasks_app.store.scripts import Call, EnqueueCode, Enqueued

MAX_ITEM_ID = 200
LARGEST_PRIORITY = 100
AT_ONCE = 200  # tasks in one round trip

Arguments = tuple[Sequence[Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a caller may say about one task beyond its definition; None keeps the definition's."""

    item_id: str | None = None
    user_id: str | None = None
    queue: str | None = None
    priority: int | None = None
    restartable: bool = True
    require_worker: bool = False


def enqueue_sync(
    definition: TaskDefinition[..., Any],
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    ask: Ask | None = None,
) -> Task:
    """Enqueue from synchronous code; raises what `enqueue_task` raises."""
    return send_sync(prepare(definition, args, kwargs or {}, ask), ask)


async def enqueue_task(
    definition: TaskDefinition[..., Any],
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    ask: Ask | None = None,
) -> Task:
    """Enqueue a task and answer it as it stands.

    With a unique or a debounce key that may be an older task, which stands for this one. Raises
    InvalidTask or PayloadTooLarge for arguments that cannot be kept, NoWorker when
    `ask.require_worker` is set and no worker's heartbeat is fresh, StoreUnavailable.
    """
    return await send(prepare(definition, args, kwargs or {}, ask), ask)


async def enqueue_many(
    definition: TaskDefinition[..., Any], calls: Iterable[Arguments], ask: Ask | None = None
) -> list[Task]:
    """Enqueue a task for each pair of arguments, hundreds in one round trip; in their order.

    All arguments are checked before the first task is enqueued. When Redis fails in the middle,
    StoreUnavailable is raised and some of them may have been enqueued.
    """
    new = [prepare(definition, args, kwargs, ask) for args, kwargs in calls]
    made: list[Task] = []
    for first in range(0, len(new), AT_ONCE):
        part = new[first : first + AT_ONCE]
        replies = await client.arun_all([_call(one, ask) for one in part])
        made += [
            _record(one, reply) or await inspect.get_task(reply.id)
            for one, reply in zip(part, replies, strict=True)
        ]
    return made


def send_sync(new: NewTask, ask: Ask | None = None) -> Task:
    """Do as `send`, from synchronous code."""
    return _found(new, client.run(_call(new, ask)))


def send_many_sync(new: Sequence[NewTask]) -> list[Task]:
    """Write prepared tasks in one round trip; answer them, or those that stand for them."""
    replies = client.run_all([_call(one, None) for one in new]) if new else []
    return [_found(one, reply) for one, reply in zip(new, replies, strict=True)]


def _found(new: NewTask, reply: Enqueued) -> Task:
    found = _record(new, reply) or inspect.find_sync(reply.id)
    if found is None:
        raise TaskNotFound
    return found


async def send(new: NewTask, ask: Ask | None = None) -> Task:
    """Write a prepared task; answer it, or the one that stands for it."""
    reply = await client.arun(_call(new, ask))
    return _record(new, reply) or await inspect.get_task(reply.id)


def prepare(
    definition: TaskDefinition[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    ask: Ask | None = None,
) -> NewTask:
    """Check a request and give it its id; nothing is written."""
    ask = ask or Ask()
    # Lone surrogates cannot be written: cleaned here, the record says what Redis keeps.
    item_id = clean(definition.item_id if ask.item_id is None else ask.item_id)
    if len(item_id) > MAX_ITEM_ID:
        raise InvalidTask(f"item_id is at most {MAX_ITEM_ID} characters long.")
    priority = definition.priority if ask.priority is None else ask.priority
    if not -LARGEST_PRIORITY <= priority <= LARGEST_PRIORITY:
        raise InvalidTask(f"priority is from -{LARGEST_PRIORITY} to {LARGEST_PRIORITY}.")
    user_id = clean(definition.user_id if ask.user_id is None else ask.user_id)
    return NewTask(
        id=os.urandom(16).hex(),
        path=definition.module_path,
        name=definition.name,
        payload=_payload(args, kwargs),
        queue=clean(ask.queue or definition.queue_name),
        priority=priority,
        item_id=item_id,
        user_id=user_id,
        run_after=definition.run_after,
        timeout=definition.timeout,
        expires_in=definition.expires_in,
        max_deliveries=definition.max_deliveries or conf.max_deliveries(),
        parent_id="" if definition.detached else current_task_id.get(),
        restartable=ask.restartable,
        retry=definition.retry,
        in_thread=not iscoroutinefunction(definition.func),
        backend=definition.backend,
        debounce=definition.debounce,
        max_wait=definition.max_wait,
        **_keys(definition, user_id, item_id),
    )


def _keys(definition: TaskDefinition[..., Any], user_id: str, item_id: str) -> dict[str, Any]:
    """Complete the keys of a task: what one user's task stops, replaces or finds is that user's.

    A unique and a debounce key belong to the definition besides: what they find or replace must
    be the same kind of task. A limit is everybody's: it says how much something may take at once.
    """
    path = definition.module_path
    found: dict[str, Any] = {}
    if definition.unique_key:
        found["unique_key"] = dumps([user_id, path, definition.unique_key])
    if definition.debounce is not None:
        found["debounce_key"] = dumps([user_id, path, definition.debounce_key or item_id])
    if definition.supersede_key:
        found["supersede_key"] = dumps([user_id, definition.supersede_key])
    if definition.concurrency is not None or definition.concurrency_key:
        found["concurrency_key"] = clean(definition.concurrency_key or path)
        found["concurrency"] = definition.concurrency or 1
    return found


def _payload(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    try:
        text = dumps_any({"args": list(args), "kwargs": dict(kwargs)})
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArguments(f"The task's arguments are not JSON: {error}") from error
    size, limit = len(text.encode()), conf.max_payload_bytes()
    if size > limit:
        raise PayloadTooLarge(
            f"The task's arguments have {size} bytes; TASK_MAX_PAYLOAD_BYTES allows {limit}."
        )
    return text


def _call(new: NewTask, ask: Ask | None) -> Call[Enqueued]:
    within = conf.worker_silence_seconds() if ask is not None and ask.require_worker else None
    return scripts.enqueue(keys.current().prefix, new, worker_within=within)


def _record(new: NewTask, reply: Enqueued) -> Task | None:
    """Return the task as it was written; None when another stands for it."""
    if reply.code is EnqueueCode.NO_WORKER:
        raise NoWorker
    if reply.id != new.id:
        return None
    # EXISTS with our id: the same request, sent twice after a broken connection; the first counted.
    return Task(
        id=new.id,
        name=new.name,
        queue=new.queue,
        status=TaskState(reply.status or TaskState.QUEUED),
        seq=reply.seq,
        priority=new.priority,
        item_id=new.item_id or None,
        user_id=new.user_id or None,
        created_at=from_ms(reply.now),
        run_after=new.run_after,
        retried_from=new.retried_from or None,
        parent_id=reply.parent or None,
        path=new.path,
        backend=new.backend,
    )
