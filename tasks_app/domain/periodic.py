"""A periodic job as others see it: what its function receives, and its figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Run(Protocol):
    """What a periodic function with an argument named `run` receives.

    `due` is the moment by Redis' clock that this run is for, `fence` the lock's number, which
    grows with every acquisition of any lock.
    """

    @property
    def name(self) -> str: ...
    @property
    def due(self) -> datetime: ...
    @property
    def fence(self) -> int: ...

    @property
    def cancelled(self) -> bool:
        """Whether the function shall return: the lock was lost, or the worker is shut down."""

    async def check(self) -> None:
        """Prove before a destructive step that the lock is still ours, and renew it.

        Raises LockLost when it is not, StoreUnavailable when Redis does not answer.
        """

    def check_sync(self) -> None:
        """Do as `check`, from a synchronous function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """A periodic job with its figures, as they stand in Redis at the moment of reading.

    `next_due` in the past means that no worker is there to run it, or that its lock is taken.
    `duration` in seconds; `error` is that of the latest run that failed, at `failed_at`.
    """

    name: str
    schedule: str
    lock: str
    catch_up: bool
    next_due: datetime
    runs: int = 0
    failures: int = 0
    is_running: bool = False
    instance: str | None = None
    started_at: datetime | None = None
    duration: float | None = None
    error: str = ""
    failed_at: datetime | None = None
