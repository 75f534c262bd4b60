"""The engine's services for everyone else: REST, commands, the admin, the realtime layer.

Other packages import this module and nothing below it. Every coroutine runs on the caller's loop
and raises StoreUnavailable when Redis does not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tasks_app.domain.owned import end_owned
from tasks_app.domain.records import Event, Task, Viewer
from tasks_app.domain.states import FINAL, TaskState
from tasks_app.generation.catalog import aclose_catalog
from tasks_app.services.access import aviewer_for, viewer_for
from tasks_app.services.browse import (
    Found,
    Match,
    Output,
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
from tasks_app.services.follow import follow, wait_task
from tasks_app.services.inspect import (
    Filter,
    Page,
    find_sync,
    get_task,
    list_tasks,
    ping,
    summaries,
    unfinished_ids,
    with_results,
    workers_alive,
    workers_heard_since,
)
from tasks_app.services.stop import stop_item, stop_task, stop_task_sync, stop_tasks_sync
from tasks_app.services.tokens import user_for_token
from tasks_app.store import client, keys
from tasks_app.store import subscriptions as _subscriptions
from tasks_app.store.scripts import StopCode
from tasks_app.store.subscriptions import Subscriptions, subscriptions

__all__ = [
    "FINAL", "Ask", "Event", "Filter", "Found", "Match", "Output", "Page", "StopCode",
    "Subscriptions", "Task", "TaskState", "Viewer", "aviewer_for", "count_tasks_sync", "end_owned",
    "enqueue_sync", "enqueue_task", "find_sync", "follow", "get_task", "list_tasks", "listen_all",
    "listen_user", "ping", "prepare_task", "read_output", "read_output_sync", "search_tasks_sync",
    "send_task", "shutdown", "stop_item", "stop_task", "stop_task_sync", "stop_tasks_sync",
    "subscriptions", "summaries", "summaries_sync", "task_ids_sync", "unfinished_ids",
    "user_for_token", "viewer_for", "wait_task", "with_results", "workers_alive",
    "workers_heard_since",
]  # fmt: skip


def listen_user(
    user_id: str, listener: Callable[[str | None], None]
) -> AbstractAsyncContextManager[None]:
    """Call `listener` with `{"task_id": …}` (JSON text) whenever a task of the user changed.

    A hint, not the change: read the task. None means that hints may have been missed. The
    listener runs on the loop and must not block.
    """
    return subscriptions().listening(keys.current().changes(user_id), listener)


def listen_all(listener: Callable[[str | None], None]) -> AbstractAsyncContextManager[None]:
    """Call `listener` whenever any task changed; as `listen_user`, for those who may see all."""
    return subscriptions().listening(keys.current().changes(None), listener)


async def shutdown() -> None:
    """Close the running loop's connections to Redis and to providers; they reopen when used."""
    await aclose_catalog()
    await _subscriptions.aclose()
    await client.aclose()
