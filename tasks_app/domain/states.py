"""The states of a task and the moves between them: the one table that scripts and tests follow."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """Where a task is in its life; the names of the public contract."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST = "lost"


WAITING = frozenset({TaskState.SCHEDULED, TaskState.QUEUED})
LEASED = frozenset({TaskState.RUNNING, TaskState.CANCELING})
FINAL = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELED, TaskState.LOST})

TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    # promote · stop · expired before it started
    TaskState.SCHEDULED: frozenset({TaskState.QUEUED, TaskState.CANCELED, TaskState.FAILED}),
    # claim · stop · expired before it started
    TaskState.QUEUED: frozenset({TaskState.RUNNING, TaskState.CANCELED, TaskState.FAILED}),
    # settle · lost · retry · hand-back or reap · stop · a bare stop command from another program
    TaskState.RUNNING: frozenset(
        {
            TaskState.SUCCEEDED,
            TaskState.FAILED,
            TaskState.LOST,
            TaskState.SCHEDULED,
            TaskState.QUEUED,
            TaskState.CANCELING,
            TaskState.CANCELED,
        }
    ),
    # whatever the function returns, and also when its worker dies
    TaskState.CANCELING: frozenset({TaskState.CANCELED}),
    **{state: frozenset() for state in FINAL},
}


def can_move(source: TaskState, target: TaskState) -> bool:
    return target in TRANSITIONS[source]
