"""The records that the engine hands out: frozen, typed, without Redis or Django."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tasks_app.domain.retry import Retry
from tasks_app.domain.states import FINAL, TaskState


def from_ms(value: int | None) -> datetime | None:
    """Turn milliseconds since 1970 into an aware UTC moment; None and 0 stay None."""
    return datetime.fromtimestamp(value / 1000, UTC) if value else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task as it is asked for, before the engine has given it its place.

    Durations are seconds; `run_after` is an aware moment; `payload` is the JSON text of
    `{"args": […], "kwargs": {…}}`; `path` says where its definition is: "app.tasks.function".
    The keys are complete: whoever builds the task has put its user and its path into them.
    """

    id: str
    path: str
    name: str
    payload: str
    queue: str = "default"
    priority: int = 0
    item_id: str = ""
    user_id: str = ""
    run_after: datetime | None = None
    timeout: float | None = None
    expires_in: float | None = None
    max_deliveries: int = 3
    parent_id: str = ""
    retried_from: str = ""
    debounce: float | None = None
    max_wait: float | None = None
    debounce_key: str = ""
    unique_key: str = ""
    supersede_key: str = ""
    concurrency_key: str = ""
    concurrency: int = 1
    backend: str = "default"  # the alias in TASKS that it was enqueued by
    retry: Retry | None = None
    in_thread: bool = False  # its function is no coroutine function: it needs a worker's thread
    # False: once output was sent, a failed or restarted attempt ends the task as failed
    # (a plain streamed HTTP answer cannot take a token back).
    restartable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The exception that ended an attempt, for operators: never shown to users."""

    attempt: int
    type: str  # as in the record's error, which it belongs to
    class_path: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One requested run of a task definition, as it stands in Redis at the moment of reading.

    `progress` is 0…1 or None; `result` the JSON value the function returned; `error`
    `{"type", "message"}`; `token` the lease of the current attempt, never shown to users.
    """

    id: str
    name: str
    queue: str
    status: TaskState
    seq: int
    priority: int = 0
    item_id: str | None = None
    user_id: str | None = None
    attempts: int = 0
    progress: float | None = None
    message: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    run_after: datetime | None = None
    instance: str | None = None
    result: Any = None
    error: dict[str, str] | None = None
    stopped_by: str | None = None
    reason: str | None = None
    retried_from: str | None = None
    parent_id: str | None = None
    path: str = ""  # where the task definition is: "app.tasks.function"
    payload: dict[str, Any] = field(default_factory=dict)
    backend: str = "default"
    workers: tuple[str, ...] = ()  # who made the attempts, in order
    fault: Fault | None = None

    @property
    def is_finished(self) -> bool:
        return self.status in FINAL

    def resource(self, *, with_result: bool = True) -> dict[str, Any]:
        """Return the task resource of the REST API: JSON values, times as ISO 8601 UTC."""
        shown: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "queue": self.queue,
            "status": self.status.value,
            "item_id": self.item_id,
            "user_id": self.user_id,
            "priority": self.priority,
            "attempts": self.attempts,
            "progress": self.progress,
            "message": self.message,
            "created_at": _iso(self.created_at),
            "started_at": _iso(self.started_at),
            "finished_at": _iso(self.finished_at),
            "instance": self.instance,
            "error": self.error,
            "stopped_by": self.stopped_by,
            "reason": self.reason,
            "retried_from": self.retried_from,
            "parent_id": self.parent_id,
        }
        if with_result:
            shown["result"] = self.result
        return shown


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of a task's output: `id` orders it, `type` and `data` are the contract's."""

    id: str
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An attempt that a worker holds: what it needs to execute it, and the lease's token."""

    id: str
    path: str
    name: str
    payload: str
    token: str
    attempt: int
    failures: int
    item_id: str
    user_id: str
    timeout: float | None
    backend: str = "default"
    created: int = 0  # ms
    past: str = ""  # the workers of earlier attempts, a line each
    retry: Retry | None = None
    in_thread: bool = False  # it was enqueued as one that needs a thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who asks: a user with the rights that decide which tasks they see and may act on."""

    user_id: str
    username: str
    can_view_all: bool = False
    can_change_all: bool = False

    def may_see(self, owner_id: str | None) -> bool:
        return self.can_view_all or (bool(owner_id) and owner_id == self.user_id)

    def may_act_on(self, owner_id: str | None) -> bool:
        return self.can_change_all or (bool(owner_id) and owner_id == self.user_id)
