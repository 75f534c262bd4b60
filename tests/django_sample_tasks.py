"""Tasks as code that knows only Django's Tasks API would define them: nothing of ours is named."""

from __future__ import annotations

import asyncio
import importlib
from collections import UserDict
from typing import Any

from tasks_app.compat import PACKAGE

task: Any = importlib.import_module(PACKAGE).task

SEEN: list[Any] = []


class Outer:
    """Holds a class that no dotted path leads to."""

    class Hidden(Exception):
        """Raised by a task."""


class OddError(Exception):
    """An exception of this module."""


@task
def plain(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


@task()
async def plain_async(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


@task(priority=7, queue_name="mail")
def mail() -> None: ...


@task
def note(what: Any) -> None:
    SEEN.append(what)


@task
def odd() -> None:
    raise OddError("so it is")


@task
async def caused() -> None:
    try:
        {}["the cause"]
    except KeyError as error:
        raise OddError("so it is") from error


@task
def hidden() -> None:
    raise Outer.Hidden


@task
def leave() -> None:
    raise SystemExit(3)


@task
def endless_message() -> None:
    raise OddError("x" * 1_000_000)


@task
def as_tuple() -> Any:
    return (1, UserDict(a=(2,)), b"text")


@task
def unstorable() -> Any:
    return object()


@task(takes_context=True)
def look(context: Any, word: str) -> Any:
    SEEN.append(context)
    return [context.attempt, context.task_result.id, word]


@task(takes_context=True)
async def look_async(context: Any, word: str) -> Any:
    SEEN.append(context)
    return [context.attempt, context.task_result.id, word]


@task
async def begin_and_wait() -> None:
    SEEN.append("begun")
    try:
        await asyncio.Event().wait()
    finally:
        SEEN.append("ended")
