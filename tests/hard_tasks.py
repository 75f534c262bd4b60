"""Tasks that behave badly: what they raise, swallow and block must not hurt the worker."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

from tasks_app import Retry, task

GO_ON = threading.Event()  # lets blocked threads return
STARTED: list[str] = []


@task
async def raise_by_name(name: str) -> None:
    raise {"GeneratorExit": GeneratorExit, "KeyboardInterrupt": KeyboardInterrupt,
           "BaseException": BaseException, "SystemExit": SystemExit}[name]("odd")  # fmt: skip


@task
def raise_in_thread(name: str) -> None:
    raise {"StopIteration": StopIteration, "KeyboardInterrupt": KeyboardInterrupt,
           "SystemExit": SystemExit}[name]("odd")  # fmt: skip


@task(timeout=0.05)
async def swallow_time_out() -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "late"
    return ""


@task(timeout=0.05)
async def ignore_time_out() -> None:
    await ignore_everything_body()


@task(takes_context=True)
async def ignore_everything(context: Any) -> None:
    context.token("deaf")
    await ignore_everything_body()


async def ignore_everything_body() -> None:
    while not GO_ON.is_set():
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            continue


@task(takes_context=True, timeout=0.05, retry=Retry(max_attempts=1))
def look_for_time_out(context: Any) -> str:
    while not context.cancelled and not GO_ON.is_set():
        GO_ON.wait(0.01)
    return "seen"


@task(takes_context=True)
def hold_a_thread(context: Any) -> None:
    STARTED.append(context.task_id)
    context.token("held")
    GO_ON.wait(60)


@task(takes_context=True)
def hold_a_thread_and_fail(context: Any) -> None:
    context.token("held")
    GO_ON.wait(60)
    raise ValueError("in the end")


@task(takes_context=True)
async def emit_many(context: Any, count: int) -> int:
    for number in range(count):
        context.emit("number", number)
    context.token("all")
    context.progress(1.0)
    return count


@task(takes_context=True)
async def breed_when_stopped(context: Any) -> None:
    context.token("alive")
    try:
        await asyncio.Event().wait()
    finally:
        from tasks_app import api  # noqa: PLC0415 importing the API needs Django's apps

        await asyncio.sleep(0.1)
        await api.enqueue_task(hold_a_thread, ask=api.Ask(item_id=context.item_id))
        await api.enqueue_task(hold_a_thread.using(detached=True), ask=api.Ask(item_id="another"))


class Unprintable(Exception):
    """Cannot be shown, copied or pickled: whoever asks for its text gets what it was given."""

    def __init__(self, answer: BaseException) -> None:
        self.answer = answer

    def __str__(self) -> str:
        raise self.answer

    __repr__ = __str__

    def __reduce__(self) -> Any:
        raise self.answer


def _odd(kind: str) -> BaseException:
    return EXCEPTIONS[kind]()


def _with_endless_cause() -> BaseException:
    error = ConnectionError("round")
    error.__cause__ = ValueError("and round")
    error.__cause__.__cause__ = error
    return error


EXCEPTIONS: dict[str, Any] = {
    "raises at str": lambda: Unprintable(ValueError("no text")),
    "exits at str": lambda: Unprintable(SystemExit("no text")),
    "interrupts at str": lambda: Unprintable(KeyboardInterrupt()),
    "holds a lock": lambda: ValueError(threading.Lock()),
    "local class": lambda: type("Local\ud800", (Exception,), {})("\ud800\x00"),
    "huge": lambda: ValueError("x" * 5_000_000),
    "cause in a circle": _with_endless_cause,
    "group": lambda: BaseExceptionGroup("many", [SystemExit(), ValueError()]),
}

RESULTS: dict[str, Any] = {
    "object": object,
    "set": lambda: {1},
    "nan": lambda: float("nan"),
    "circle": lambda: (endless := []) is not None and (endless.append(endless) or endless),
    "deep": lambda: _deep(100_000),
    "huge": lambda: "x" * (9 * 1024 * 1024),
    "keys": lambda: {(1, 2): 3},
    "lock": threading.Lock,
}


def _deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@task
async def raise_odd(kind: str) -> None:
    raise _odd(kind)


@task
def raise_odd_in_thread(kind: str) -> None:
    raise _odd(kind)


@task
async def return_by_name(kind: str) -> Any:
    return RESULTS[kind]()


@task(takes_context=True, max_deliveries=10)
async def block_the_loop(context: Any, seconds: float) -> int:
    """Let nothing else go on in this worker, at the first attempt."""
    if context.attempt == 1:
        time.sleep(seconds)  # noqa: ASYNC251 as users' code does
    return context.attempt


@task(max_deliveries=10)
async def wait_for_file(path: str) -> str:
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240 a signal from another process
        await asyncio.sleep(0.02)
    return "seen"


@task(takes_context=True)
async def wait_silently(context: Any) -> None:
    STARTED.append(context.task_id)
    await asyncio.Event().wait()
