"""One attempt in this process: its lease, output and asyncio task, and why it was cancelled."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tasks_app.domain.records import Claimed
from tasks_app.worker.output import Output


class Ending(StrEnum):
    """How an attempt ended, in the words of the settle script."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    RETRY = "retry"
    RELEASE = "release"


class Purpose(StrEnum):
    """Why the worker cancelled an attempt."""

    STOP = "stop"  # somebody asked for it: settles as canceled
    RELEASE = "release"  # shutdown: handed back to its queue
    LOST = "lost"  # the lease is another's: nothing may be written any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the worker writes at the end of an attempt; `delay` in seconds, before a retry.

    `fault` is what operators see of a failure besides `error` (JSON); `error_raised` the exception.
    """

    ending: Ending
    result: str = ""
    error: str = ""
    delay: float = 0.0
    fault: str = ""
    error_raised: BaseException | None = None


@dataclass(eq=False, kw_only=True)
class Held(ABC):
    """What this process runs under a lease: a worker's attempt, or a coroutine of its own."""

    task: asyncio.Task[Any] | None = None
    purpose: Purpose | None = None
    outcome: Outcome | None = None
    settled: bool = False
    give_up: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    @abstractmethod
    def lease(self) -> tuple[str, str]:
        """Return the task's id and the lease's token."""

    def cancel(self, purpose: Purpose) -> None:
        """Cancel the function once for each purpose; a stop outranks a release."""
        if self.outcome is not None or self.purpose in {purpose, Purpose.LOST, Purpose.STOP}:
            return
        self.purpose = purpose
        if self.task is not None:
            self.task.cancel()


@dataclass(eq=False, kw_only=True)
class Attempt(Held):
    """A claimed task while this worker holds it."""

    claimed: Claimed
    output: Output
    on_wait: Callable[[bool], None]  # it waits for other tasks, or goes on
    in_thread: bool = False  # its function has been given to the threads: it cannot be cancelled
    interrupted: bool = False  # the thread was asked to return, by whatever
    has_looked: bool = False  # its function knows that it was
    started_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    _begun: float = field(default_factory=time.monotonic, repr=False)
    # Whether synchronous code runs in threads of the worker, with their own database connections.
    in_worker: bool = True
    on_begin: Callable[[], None] | None = None  # its function is called now
    waits: int = 0  # how many of its waits for other tasks are under way
    is_refused: bool = False  # Redis refused a write of it, or of those written with it
    is_taken: bool = False  # Redis has taken its outcome
    overdue: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def lease(self) -> tuple[str, str]:
        return self.claimed.id, self.claimed.token

    @property
    def seconds(self) -> float:
        """How long this worker has held the attempt."""
        return time.monotonic() - self._begun

    @property
    def is_unaware(self) -> bool:
        """Whether it is to be handed back, and its function, in a thread, does not know it.

        Then it does not end for that reason: however it ends, it has done all that it does.
        """
        return self.in_thread and self.purpose is Purpose.RELEASE and not self.has_looked

    def interrupt(self) -> None:
        self.interrupted = True

    def look(self) -> bool:
        """Tell the function whether it was asked to end."""
        self.has_looked = self.purpose is not None or self.interrupted
        return self.has_looked

    def cancel_later(self, delay: float, call: Callable[[Attempt], Any]) -> None:
        self.give_up = asyncio.get_running_loop().call_later(delay, call, self)
