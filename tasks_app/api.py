"""The engine's services for everyone else: REST, commands, the admin, the realtime layer.

Other packages import this module and nothing below it. Every coroutine runs on the caller's loop
and raises StoreUnavailable when Redis does not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tasks_app.domain.owned import end_owned
from tasks_app.domain.periodic import JobReport
from tasks_app.domain.records import Event, Task, Viewer
from tasks_app.domain.states import FINAL, TaskState
from tasks_app.domain.stats import Stats
from tasks_app.generation.catalog import aclose_catalog
from tasks_app.generation.chat import complete as ask_model
from tasks_app.generation.permission import admit, limited, visible_models
from tasks_app.local import service as _local
from tasks_app.services import usage as _usage
from tasks_app.services.access import aviewer_for, may_delete, viewer_for
from tasks_app.services.browse import (
    Children,
    Found,
    Match,
    Output,
    children_sync,
    count_tasks_sync,
    read_output,
    read_output_sync,
    search_tasks_sync,
    summaries_sync,
    task_ids_sync,
)
from tasks_app.services.enqueue import Ask, enqueue_sync, enqueue_task
from tasks_app.services.enqueue import prepare as prepare_task
from tasks_app.services.enqueue import send as send_task
from tasks_app.services.follow import EventReader, event_order, follow, wait_task
from tasks_app.services.inspect import (
    Filter,
    Page,
    find_sync,
    get_task,
    is_served,
    is_served_since,
    list_tasks,
    ping,
    summaries,
    unfinished_ids,
    with_results,
    workers_alive,
)
from tasks_app.services.metrics import read_metrics
from tasks_app.services.periodic import periodic_jobs_sync
from tasks_app.services.purge import finished_ids_sync, purge_tasks_sync
from tasks_app.services.retry import (
    Retried,
    is_retryable,
    retry_failed_sync,
    retry_task,
    retry_task_sync,
    retry_tasks_sync,
)
from tasks_app.services.revocation import announce as announce_access
from tasks_app.services.stats import read_stats, read_stats_sync
from tasks_app.services.stop import stop_item, stop_task, stop_task_sync, stop_tasks_sync
from tasks_app.services.tokens import user_for_token, users_for_tokens_sync
from tasks_app.store import client, keys
from tasks_app.store import subscriptions as _subscriptions
from tasks_app.store.scripts import Call, PurgeCode, StopCode
from tasks_app.store.subscriptions import Subscriptions, subscriptions

__all__ = [
    "FINAL", "Ask", "Children", "Event", "EventReader", "Filter", "Found", "JobReport", "Match",
    "Output", "Page", "PurgeCode", "Retried", "Stats", "StopCode", "Subscriptions", "Task",
    "TaskState", "Viewer", "admit", "announce_access", "ask_model", "aviewer_for", "children_sync",
    "count_tasks_sync", "end_owned", "enqueue_sync", "enqueue_task", "event_order", "find_sync",
    "finished_ids_sync", "follow", "get_task", "is_retryable", "is_served", "is_served_since",
    "limited", "list_tasks", "listen_access", "listen_all", "listen_task", "listen_user",
    "may_delete", "periodic_jobs_sync", "ping", "prepare_task", "purge_tasks_sync", "read_metrics",
    "read_output", "read_output_sync", "read_stats", "read_stats_sync", "retry_failed_sync",
    "retry_task", "retry_task_sync", "retry_tasks_sync", "search_tasks_sync", "send_task",
    "shutdown", "startup", "stop_item", "stop_task", "stop_task_sync", "stop_tasks_sync",
    "subscriptions", "summaries", "summaries_sync", "task_ids_sync", "tell_user", "unfinished_ids",
    "user_for_token", "users_for_tokens_sync", "viewer_for", "visible_models", "wait_task",
    "with_results", "workers_alive",
]  # fmt: skip


def listen_user(
    user_id: str, listener: Callable[[str | None], None]
) -> AbstractAsyncContextManager[None]:
    """Call `listener` with `{"task_id": …}` (JSON text) whenever a task of the user changed.

    A hint, not the change: read the task. What `tell_user` sends comes the same way. None means
    that something may have been missed. The listener runs on the loop and must not block.
    """
    return subscriptions().listening(keys.current().changes(user_id), listener)


async def tell_user(user_id: str, text: str) -> None:
    """Send text to all who `listen_user` at this moment; raises StoreUnavailable."""
    await client.arun(Call(int, ("PUBLISH", keys.current().changes(user_id), text)))


def listen_task(
    task_id: str, listener: Callable[[str | None], None]
) -> AbstractAsyncContextManager[None]:
    """Call `listener` with each event of a task: `{"id", "prev", "type", "data"}` (JSON text).

    `prev` is the id of the event before it: where that is not the last one seen, or None comes,
    some were missed, and an `EventReader` reads them. `end` has no data: read it likewise.
    """
    return subscriptions().listening(keys.current().events(task_id), listener)


def listen_all(listener: Callable[[str | None], None]) -> AbstractAsyncContextManager[None]:
    """Call `listener` whenever any task changed; as `listen_user`, for those who may see all."""
    return subscriptions().listening(keys.current().changes(None), listener)


def listen_access(listener: Callable[[str | None], None]) -> AbstractAsyncContextManager[None]:
    """Call `listener` with the id of a user whose rights may have changed ("": anybody's).

    As with `listen_user`, None means that hints may have been missed.
    """
    return subscriptions().listening(keys.current().name("access"), listener)


async def startup() -> None:
    """Start what serves coroutines on the running loop, before the first one; needs no Redis."""
    _local.local_tasks().start()


async def shutdown() -> None:
    """End the running loop's coroutines, then close its connections to Redis and to providers.

    All of it reopens when used.
    """
    await _local.aclose()
    await _usage.aclose()
    await aclose_catalog()
    await _subscriptions.aclose()
    await client.aclose()
