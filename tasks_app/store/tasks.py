"""Reads tasks from Redis: builders of the calls, and the decoding of a record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tasks_app.domain.records import Fault, Task, from_ms
from tasks_app.domain.states import TaskState
from tasks_app.store.keys import Keys
from tasks_app.store.scripts import Call

UNREADABLE = {"type": "DamagedRecord", "message": "The task's record in Redis cannot be read."}
LONGEST_PAST = 4096  # bytes, as in the prelude's put_back
LATEST_MS = 253_402_300_799_999  # the last moment of the year 9999


def _json(text: str | None, default: Any) -> Any:
    """Read a JSON field; a damaged one counts as absent, so that one record cannot stop a list."""
    if not text:
        return default
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return default


def number(text: str | None) -> float | None:
    """Read a number of a record; None when there is none, or none that can be read."""
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _int(text: str | None) -> int:
    return int(number(text) or 0)


def _moment(text: str | None) -> datetime | None:
    value = number(text)
    return None if value is None or abs(value) > LATEST_MS else from_ms(int(value))


def _state(text: str) -> tuple[TaskState, bool]:
    """Read a state, and whether it was one; else the task cannot go on, as "failed" says."""
    try:
        return TaskState(text), True
    except ValueError:
        return TaskState.FAILED, False


def _error(text: str | None) -> dict[str, str] | None:
    error = _json(text, None)
    if not isinstance(error, dict):
        return None
    return {"type": str(error.get("type", "")), "message": str(error.get("message", ""))}


def _fault(text: str | None) -> Fault | None:
    fault = _json(text, None)
    if not isinstance(fault, dict):
        return None
    return Fault(
        attempt=_int(str(fault.get("attempt", ""))),
        type=str(fault.get("type", "")),
        class_path=str(fault.get("class", "")),
        traceback=str(fault.get("traceback", "")),
    )


def workers_of(past: str, instance: str) -> tuple[str, ...]:
    """Return who made the attempts: the earlier ones as the record keeps them, and this one's."""
    # Bounded from the front: what was cut through there is no name.
    names = past.split("\n")[len(past) == LONGEST_PAST : -1]
    return (*names, instance) if instance else tuple(names)


def decode(task_id: str, fields: Mapping[str, str]) -> Task | None:
    """Turn a record's fields into a Task, whatever they hold; None when there is no record."""
    if not fields.get("status"):
        return None
    status, is_readable = _state(fields["status"])
    payload = _json(fields.get("payload"), {})
    return Task(
        id=task_id,
        name=fields.get("name", ""),
        queue=fields.get("queue", ""),
        status=status,
        seq=_int(fields.get("seq")),
        priority=_int(fields.get("priority")),
        item_id=fields.get("item") or None,
        user_id=fields.get("user") or None,
        attempts=_int(fields.get("attempts")),
        progress=number(fields.get("progress")),
        message=fields.get("message", ""),
        created_at=_moment(fields.get("created")),
        started_at=_moment(fields.get("started")),
        finished_at=_moment(fields.get("finished")),
        run_after=_moment(fields.get("due")),
        instance=fields.get("instance") or None,
        result=_json(fields.get("result"), None),
        error=_error(fields.get("error")) if is_readable else dict(UNREADABLE),
        stopped_by=fields.get("stopped_by") or None,
        reason=fields.get("reason") or None,
        retried_from=fields.get("retried_from") or None,
        parent_id=fields.get("parent") or None,
        path=fields.get("path", ""),
        payload=payload if isinstance(payload, dict) else {},
        backend=fields.get("backend") or "default",
        workers=workers_of(fields.get("past", ""), fields.get("instance", "")),
        fault=_fault(fields.get("fault")),
    )


# A list shows no payload and no result: they may be large.
SUMMARY = (
    "status", "name", "queue", "seq", "priority", "item", "user", "attempts", "progress",
    "message", "created", "started", "finished", "due", "instance", "error", "stopped_by",
    "reason", "retried_from", "parent", "path",
)  # fmt: skip


def _summary(task_id: str, values: list[str | None]) -> Task | None:
    shown = {name: value for name, value in zip(SUMMARY, values, strict=True) if value is not None}
    return decode(task_id, shown)


def _none() -> None:
    return None


def get(keys: Keys, task_id: str) -> Call[Task | None]:
    return Call(
        lambda fields: decode(task_id, fields), ("HGETALL", keys.task(task_id)), None, _none
    )


def fields(keys: Keys, task_id: str) -> Call[dict[str, str]]:
    """Build the call that reads a record as it is kept; empty when there is none."""
    return Call(dict, ("HGETALL", keys.task(task_id)), None, dict)


def get_summary(keys: Keys, task_id: str) -> Call[Task | None]:
    """Build the call that reads a task without its payload and result."""
    args = ("HMGET", keys.task(task_id), *SUMMARY)
    return Call(lambda values: _summary(task_id, values), args, None, _none)


def _texts(reply: Any) -> list[str]:
    return list(reply)


def page(
    keys: Keys, user_id: str | None, before: int | None, limit: int
) -> Call[list[tuple[str, int]]]:
    """Build the call that reads ids with their sequence numbers, newest first, below `before`."""
    return _page(keys.index(user_id), before, limit)


def page_failed(keys: Keys, before: int | None, limit: int) -> Call[list[tuple[str, int]]]:
    """Do as `page`, for all tasks that failed for good."""
    return _page(keys.name("failed"), before, limit)


def _page(index: str, before: int | None, limit: int) -> Call[list[tuple[str, int]]]:
    highest = "+inf" if before is None else f"({before}"
    args = (index, highest, "-inf", "WITHSCORES", "LIMIT", 0, limit)
    return Call(_pairs, ("ZREVRANGEBYSCORE", *args))


def slice_all(keys: Keys, offset: int, limit: int) -> Call[list[str]]:
    """Build the call that reads ids by position, newest first (the admin's pages)."""
    return Call(_texts, ("ZREVRANGE", keys.index(None), offset, offset + limit - 1))


def slice_failed(keys: Keys, limit: int) -> Call[list[str]]:
    """Build the call that reads the newest ids of those that failed for good."""
    return Call(_texts, ("ZREVRANGE", keys.name("failed"), 0, limit - 1))


def slice_finished(keys: Keys, until: int, offset: int, limit: int) -> Call[list[str]]:
    """Build the call that reads ids of tasks that ended at `until` (ms) or before, oldest first."""
    args = (keys.name("finished"), "-inf", until, "LIMIT", offset, limit)
    return Call(_texts, ("ZRANGEBYSCORE", *args))


def slice_children(keys: Keys, parent_id: str, limit: int) -> Call[list[str]]:
    """Build the call that reads ids of a task's children, the unfinished ones first."""
    return Call(_texts, ("ZRANGE", keys.name("children", parent_id), 0, limit - 1), None, list)


def count_children(keys: Keys, parent_id: str) -> Call[int]:
    return Call(int, ("ZCARD", keys.name("children", parent_id)), None, int)


def count_all(keys: Keys) -> Call[int]:
    return Call(int, ("ZCARD", keys.index(None)))


def count_failed(keys: Keys) -> Call[int]:
    return Call(int, ("ZCARD", keys.name("failed")))


def status(keys: Keys, task_id: str) -> Call[str]:
    """Build the call that reads a task's state alone; empty when there is no task."""
    return Call(lambda text: text or "", ("HGET", keys.task(task_id), "status"), None, str)


class Traits(NamedTuple):
    """What a search looks at; read for many tasks at once, so no more than that."""

    seq: int
    status: str
    name: str
    queue: str
    item: str
    user: str


def _traits(values: list[str | None]) -> Traits | None:
    seq, *rest = values
    return Traits(_int(seq), *(value or "" for value in rest)) if seq else None


def traits(keys: Keys, task_id: str) -> Call[Traits | None]:
    return Call(_traits, ("HMGET", keys.task(task_id), *Traits._fields), None, _none)


def result(keys: Keys, task_id: str) -> Call[Any]:
    """Build the call that reads a task's result alone; None when there is none."""
    return Call(lambda text: _json(text, None), ("HGET", keys.task(task_id), "result"), None, _none)


def text_size(keys: Keys, task_id: str) -> Call[int]:
    return Call(int, ("STRLEN", keys.name("text", task_id)), None, int)


def text_end(keys: Keys, task_id: str, size: int) -> Call[str]:
    """Build the call that reads the last bytes of the current attempt's text."""
    return Call(str, ("GETRANGE", keys.name("text", task_id), -size, -1), None, str)


def count_unfinished(keys: Keys) -> Call[int]:
    return Call(int, ("HLEN", keys.name("tasks")))


def unfinished(keys: Keys) -> Call[list[str]]:
    return Call(_texts, ("HKEYS", keys.name("tasks")))


def unfinished_of_item(keys: Keys, item_id: str) -> Call[list[str]]:
    return Call(_texts, ("SMEMBERS", keys.item(item_id)))


def owner(keys: Keys, task_id: str) -> Call[tuple[bool, str | None]]:
    """Build the call that answers whether the task exists and whose it is."""
    return Call(
        lambda values: (values[0] is not None, values[1] or None),
        ("HMGET", keys.task(task_id), "status", "user"),
        damaged=lambda: (False, None),
    )


def newest_heartbeat(keys: Keys, queue: str) -> Call[int]:
    """Build the call that answers when one of a queue's workers was last heard of (ms; 0 never)."""
    return Call(
        lambda rows: int(float(_score(rows))) if rows else 0,
        ("ZREVRANGE", keys.name("serving", queue), 0, 0, "WITHSCORES"),
    )


def _score(rows: list[Any]) -> Any:
    first = rows[0]
    return first[1] if isinstance(first, (list, tuple)) else rows[1]


def server_time() -> Call[int]:
    """Build the call that reads Redis' clock in milliseconds."""
    return Call(lambda t: int(t[0]) * 1000 + int(t[1]) // 1000, ("TIME",))


def workers(keys: Keys) -> Call[list[tuple[str, int]]]:
    """Build the call that lists worker instances with their last heartbeats (ms)."""
    return Call(_pairs, ("ZRANGE", keys.name("workers"), 0, -1, "WITHSCORES"))


def _pairs(rows: list[Any]) -> list[tuple[str, int]]:
    if rows and not isinstance(rows[0], (list, tuple)):
        rows = list(zip(rows[::2], rows[1::2], strict=True))
    return [(str(name), int(float(score))) for name, score in rows]


def worker_facts(keys: Keys) -> Call[dict[str, str]]:
    """Build the call that reads what the workers say about themselves (JSON), by instance."""
    return Call(dict, ("HGETALL", keys.name("worker_facts")))


def forget_worker(keys: Keys, instance: str, queues: Iterable[str]) -> list[Call[int]]:
    """Build the calls by which a worker leaves."""
    return [
        *(Call(int, ("ZREM", keys.name("serving", queue), instance)) for queue in queues),
        Call(int, ("HDEL", keys.name("worker_facts"), instance)),
        Call(int, ("ZREM", keys.name("workers"), instance)),
    ]
