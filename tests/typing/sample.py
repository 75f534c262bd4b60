"""How users define and enqueue tasks, as type checkers see it; right lines and wrong ones.

A wrong line ends in a comment with the codes that each checker must report there; nothing else may
be reported (test_typing.py). Never imported.
"""
# ruff: noqa: B018, F841

from __future__ import annotations

from typing import Any, assert_type

from tasks_app import Retry, TaskContext, gather, task
from tasks_app.compat import DjangoTaskContext, TaskResult
from tasks_app.definition import TaskDefinition
from tasks_app.domain.context import Context


@task
def plain(a: int, b: str = "") -> float:
    return a + len(b)


@task
async def coroutine(a: int) -> str:
    return str(a)


@task()
async def empty_parentheses(a: int) -> str:
    return str(a)


@task(queue_name="mail", timeout=3.0, retry=Retry(max_attempts=2), item_id="chat-1")
def with_options(a: int) -> list[int]:
    return [a]


@task(takes_context=False, priority=3)
async def without_context(a: int) -> bytes:
    return bytes(a)


@task(takes_context=True, unique_key="one")
async def with_context(context: TaskContext, a: int, *, b: str) -> str:
    context.progress(0.5, "half")
    context.token(b)
    assert_type(context.attempt, int)
    assert_type(context.cancelled, bool)
    return context.task_result.id * a


@task(takes_context=True)
def with_any_context(context: Any, a: int) -> None:
    context.token(str(a))


@task(takes_context=True)
def with_the_protocol(context: Context, a: int) -> int:
    context.emit("found", {"a": a})
    return a


@task(takes_context=True)
async def with_djangos_context(context: DjangoTaskContext, a: int) -> int:
    return context.attempt + a


# --- enqueueing -----------------------------------------------------------------------------------


def synchronous() -> None:
    assert_type(plain.enqueue(1), TaskResult[float])
    assert_type(plain.enqueue(1, b="x").return_value, float | None)
    assert_type(coroutine.enqueue(1), TaskResult[str])
    assert_type(with_options.enqueue(a=1), TaskResult[list[int]])
    assert_type(with_context.enqueue(1, b="x"), TaskResult[str])
    assert_type(plain.get_result("id"), TaskResult[float])
    assert_type(plain.call(1), float)
    assert_type(coroutine.call(1), str)
    plain.enqueue("1")  # mypy: arg-type, pyright: reportArgumentType
    plain.enqueue()  # mypy: call-arg, pyright: reportCallIssue
    plain.enqueue(1, c=2)  # mypy: call-arg, pyright: reportCallIssue
    with_context.enqueue(1)  # mypy: call-arg, pyright: reportCallIssue
    with_context.enqueue("1", b="x")  # mypy: arg-type, pyright: reportArgumentType
    with_any_context.enqueue(None, 1)  # mypy: call-arg arg-type, pyright: reportCallIssue
    wrong: TaskResult[str] = plain.enqueue(1)  # mypy: assignment, pyright: reportAssignmentType


async def asynchronous() -> None:
    assert_type(await plain.aenqueue(1), TaskResult[float])
    assert_type(await coroutine.aenqueue(1), TaskResult[str])
    assert_type(await empty_parentheses.aenqueue(1), TaskResult[str])
    assert_type(await without_context.aenqueue(1), TaskResult[bytes])
    assert_type(await with_context.aenqueue(1, b="x"), TaskResult[str])
    assert_type(await with_the_protocol.aenqueue(1), TaskResult[int])
    assert_type(await with_djangos_context.aenqueue(1), TaskResult[int])
    assert_type(await coroutine.aget_result("id"), TaskResult[str])
    assert_type(await coroutine.acall(1), str)
    assert_type(await coroutine.aenqueue_many([((1,), {})]), list[TaskResult[str]])
    await gather(await plain.aenqueue(1), "id")
    await coroutine.aenqueue("1")  # mypy: arg-type, pyright: reportArgumentType
    await coroutine.aenqueue(b=1)  # mypy: call-arg, pyright: reportCallIssue
    (await coroutine.aenqueue(1)).nothing  # mypy: attr-defined, pyright: reportAttributeAccessIssue


# --- using ----------------------------------------------------------------------------------------


def using() -> None:
    changed = with_context.using(item_id="chat-2", priority=5, debounce=0.5)
    assert_type(changed.enqueue(1, b="x"), TaskResult[str])
    assert_type(coroutine.using(user_id="7").enqueue(1), TaskResult[str])
    changed.enqueue(1)  # mypy: call-arg, pyright: reportCallIssue
    plain.using(speed=1)  # mypy: call-arg, pyright: reportCallIssue
    plain.using(timeout="3")  # mypy: arg-type, pyright: reportArgumentType
    definition: TaskDefinition[[int], str] = coroutine.using()


# --- defining -------------------------------------------------------------------------------------


@task(speed=1)  # mypy: call-overload untyped-decorator, pyright: reportCallIssue
def unknown_option() -> None: ...


@task(takes_context=True)  # mypy: arg-type, pyright: reportArgumentType reportCallIssue
def context_forgotten() -> None: ...


@task(takes_context=True)  # mypy: arg-type, pyright: reportArgumentType reportCallIssue
async def context_of_another_type(context: int) -> None: ...
