"""The `@periodic` decorator, and the jobs that it has registered in this process."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tasks_app import conf
from tasks_app.domain.schedule import Schedule
from tasks_app.errors import InvalidPeriodic
from tasks_app.store.locks import VALID_NAME

F = TypeVar("F", bound=Callable[..., Any])

_registered: dict[str, PeriodicJob] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicJob:
    """A function that the workers run; an impossible definition is refused when it is made.

    `lock_timeout` None: CLEANUP_LOCK_SECONDS. `timeout` limits one run; None: no limit.
    """

    function: Callable[..., Any]
    schedule: Schedule
    lock: str = ""
    catch_up: bool = True
    timeout: float | None = None
    lock_timeout: float | None = None

    def __post_init__(self) -> None:
        _check_function(self.function)
        if not VALID_NAME.match(self.lock_name):
            raise InvalidPeriodic(
                f"{self.name}: give lock= a name of 1 to 100 of A-Z a-z 0-9 _ . : -, "
                f"not {self.lock_name!r}."
            )
        for name in ("timeout", "lock_timeout"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InvalidPeriodic(f"{name} is a number of seconds above 0, not {value!r}.")

    @property
    def name(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def lock_name(self) -> str:
        return self.lock or f"periodic:{self.name}"

    @property
    def lock_seconds(self) -> float:
        """After how long without a renewal the lock is free again."""
        return self.lock_timeout or conf.cleanup_lock_seconds()

    @property
    def wants_run(self) -> bool:
        return bool(inspect.signature(self.function).parameters)


def periodic(
    *,
    every: float | None = None,
    cron: str | None = None,
    lock: str = "",
    catch_up: bool = True,
    timeout: float | None = None,
    lock_timeout: float | None = None,
) -> Callable[[F], F]:
    """Let the workers run a module-level function, `def` or `async def`, once per period.

    Once in the whole cluster: one worker takes the lock, and renews it while the function runs.
    `every` counts seconds from the job's first run, which comes at once; `cron` has five fields,
    read in TIME_ZONE. Jobs with the same `lock` never run at the same time (default: one of its
    own). Periods missed while no worker was there are made up for by one run; `catch_up=False`
    skips them. A function with an argument named `run` receives a `Run` (domain/periodic.py).
    Raises InvalidPeriodic when the definition cannot work or the name is taken.
    """

    def register(function: F) -> F:
        job = PeriodicJob(
            function=function,
            schedule=Schedule(every=every, cron=cron),
            lock=lock,
            catch_up=catch_up,
            timeout=timeout,
            lock_timeout=lock_timeout,
        )
        if job.name in _registered:
            raise InvalidPeriodic(f"There is a periodic job named {job.name} already.")
        _registered[job.name] = job
        return function

    return register


def registered_jobs() -> list[PeriodicJob]:
    """Return the jobs of the modules that were imported so far, by name."""
    return [_registered[name] for name in sorted(_registered)]


def _check_function(function: Any) -> None:
    if not inspect.isfunction(function) or "<" in function.__qualname__:
        raise InvalidPeriodic(f"@periodic goes on a module-level function, not {function!r}.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidPeriodic(f"{function.__qualname__} yields: calling it would do nothing.")
    if list(inspect.signature(function).parameters) not in ([], ["run"]):
        raise InvalidPeriodic(
            f"{function.__qualname__} may have one argument, named run, and no other."
        )
