"""Everything the task engine refuses or reports; the docstring is the default message."""

from __future__ import annotations


class TasksError(Exception):
    """The task engine refused the request."""

    permanent = True  # whether the same request would be refused again

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def detail(self) -> str:
        """What anybody may be told."""
        return str(self)


class StoreUnavailable(TasksError):
    """Redis does not answer; whether anything was changed is not certain. Try again in a moment."""

    permanent = False

    @property
    def detail(self) -> str:
        # The message may be Redis' own words, which are the operator's.
        return str(StoreUnavailable())


class TaskNotFound(TasksError):
    """There is no such task, or you may not see it."""


class NotAllowed(TasksError):
    """You may see this task but not act on it."""


class AlreadyFinished(TasksError):
    """The task has already finished; a finished task never changes."""


class NotRetryable(TasksError):
    """Only a registered task that failed or was canceled can be retried."""


class TaskFailed(TasksError):
    """A task that was waited for did not succeed."""


class NoWorker(TasksError):
    """No worker that serves the task's queue is alive. Start one with `manage.py taskworker`."""

    permanent = False


class PayloadTooLarge(TasksError):
    """The task's arguments are larger than TASK_MAX_PAYLOAD_BYTES."""


class InvalidTask(TasksError):
    """The task cannot be enqueued as it is."""


class InvalidPeriodic(TasksError):
    """The periodic job cannot work as it is defined."""


class TaskExists(InvalidTask):
    """There is a task with this id already."""


class ShuttingDown(TasksError):
    """This process is shutting down and starts nothing new."""

    permanent = False


class InvalidArguments(InvalidTask, TypeError, ValueError):  # what Django's Tasks API promises
    """The task's arguments are not JSON."""


class InvalidResult(TasksError):
    """The task returned something that is not JSON, or too much."""


class TaskCanceled(TasksError):
    """The task was stopped before it could succeed."""


class TaskExpired(TasksError):
    """The task expired before it could start."""


class TooManyDeliveries(TasksError):
    """The task was given to so many workers, and each of them died."""


class StreamInterrupted(TasksError):
    """The answer broke off, and what was sent of it cannot be taken back."""

    permanent = False


class InstanceDied(TasksError):
    """The process that ran the task died, and the task cannot be started again."""


class DamagedRecord(TasksError):
    """The task's record in Redis was damaged."""


class InvalidName(TasksError):
    """A lock or a dictionary cannot have this name."""


class LockLost(TasksError):
    """The lock expired, or somebody else has it: what it guarded must not go on."""

    permanent = False


class OutputOverflow(TasksError):
    """The task produced output faster than Redis took it, beyond the buffer's limit."""
