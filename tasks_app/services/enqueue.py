"""Enqueues tasks: checks the request, writes the record, answers it as it stands."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks_app import conf
from tasks_app.definition import TaskDefinition
from tasks_app.domain.codec import clean, dumps
from tasks_app.domain.context import current_task_id
from tasks_app.domain.records import NewTask, Task, from_ms
from tasks_app.domain.states import TaskState
from tasks_app.errors import InvalidTask, NoWorker, PayloadTooLarge
from tasks_app.store import client, keys, scripts
from tasks_app.store.scripts import Call, EnqueueCode

MAX_ITEM_ID = 200
LARGEST_PRIORITY = 100


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
    new, call = _prepare(definition, args, kwargs or {}, ask or Ask())
    return _record(definition, new, client.run(call))


async def enqueue_task(
    definition: TaskDefinition[..., Any],
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    ask: Ask | None = None,
) -> Task:
    """Enqueue a task and answer it as it stands.

    Raises InvalidTask or PayloadTooLarge for arguments that cannot be kept, NoWorker when
    `ask.require_worker` is set and no worker's heartbeat is fresh, StoreUnavailable.
    """
    new, call = _prepare(definition, args, kwargs or {}, ask or Ask())
    return _record(definition, new, await client.arun(call))


def _prepare(
    definition: TaskDefinition[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], ask: Ask
) -> tuple[NewTask, Call[tuple[EnqueueCode, int, int]]]:
    # Lone surrogates cannot be written: cleaned here, the record says what Redis keeps.
    item_id = clean(definition.item_id if ask.item_id is None else ask.item_id)
    if len(item_id) > MAX_ITEM_ID:
        raise InvalidTask(f"item_id is at most {MAX_ITEM_ID} characters long.")
    priority = definition.priority if ask.priority is None else ask.priority
    if not -LARGEST_PRIORITY <= priority <= LARGEST_PRIORITY:
        raise InvalidTask(f"priority is from -{LARGEST_PRIORITY} to {LARGEST_PRIORITY}.")
    new = NewTask(
        id=os.urandom(16).hex(),
        name=definition.name,
        payload=_payload(args, kwargs),
        queue=clean(ask.queue or definition.queue_name),
        priority=priority,
        item_id=item_id,
        user_id=clean(definition.user_id if ask.user_id is None else ask.user_id),
        run_after=definition.run_after,
        timeout=definition.timeout,
        expires_in=definition.expires_in,
        max_deliveries=definition.max_deliveries or conf.max_deliveries(),
        parent_id=current_task_id.get(),
        restartable=ask.restartable,
    )
    within = conf.worker_silence_seconds() if ask.require_worker else None
    prefix = keys.current().prefix
    return new, scripts.enqueue(prefix, new, definition.module_path, worker_within=within)


def _payload(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    try:
        text = dumps({"args": list(args), "kwargs": dict(kwargs)})
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTask(f"The task's arguments are not JSON: {error}") from error
    size, limit = len(text.encode()), conf.max_payload_bytes()
    if size > limit:
        raise PayloadTooLarge(
            f"The task's arguments have {size} bytes; TASK_MAX_PAYLOAD_BYTES allows {limit}."
        )
    return text


def _record(
    definition: TaskDefinition[..., Any], new: NewTask, reply: tuple[EnqueueCode, int, int]
) -> Task:
    code, seq, now = reply
    if code is EnqueueCode.NO_WORKER:
        raise NoWorker
    # EXISTS is the same request sent twice after a broken connection: the first one counted.
    created = from_ms(now)
    waits = new.run_after is not None and created is not None and new.run_after > created
    return Task(
        id=new.id,
        name=new.name,
        queue=new.queue,
        status=TaskState.SCHEDULED if waits else TaskState.QUEUED,
        seq=seq,
        priority=new.priority,
        item_id=new.item_id or None,
        user_id=new.user_id or None,
        created_at=created,
        run_after=new.run_after,
        parent_id=new.parent_id or None,
        path=definition.module_path,
    )
