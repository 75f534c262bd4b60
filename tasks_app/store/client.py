"""The clients of Redis, one per event loop and one synchronous, both configured by CACHES.

Everything above the store sees `StoreUnavailable`, never redis-py's own errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django_redis import get_redis_connection
from redis import Redis as SyncRedis
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tasks_app import conf
from tasks_app.errors import StoreUnavailable
from tasks_app.store.connection import cancellable
from tasks_app.store.scripts import Call, Script, engine_scripts

T = TypeVar("T")

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, aioredis.Redis] = WeakKeyDictionary()


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into ours, with the cause kept for the operator's log."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise StoreUnavailable from error
    except RedisError as error:
        raise StoreUnavailable(f"Redis refused: {error}") from error


def connect(**overrides: Any) -> aioredis.Redis:
    """Return a new asynchronous client; every wait of it has a limit unless overridden."""
    config = conf.redis_config()
    # All scripts may be sent twice without harm, so a broken pooled connection is tried once more;
    # a time-out is not, or a hanging Redis would cost the caller twice the limit.
    retry = Retry(
        ExponentialWithJitterBackoff(cap=0.2, base=0.02),
        1,
        supported_errors=(RedisConnectionError,),
    )
    options: dict[str, Any] = {
        "decode_responses": True,
        "encoding_errors": "replace",
        "socket_connect_timeout": config.connect_timeout,
        "socket_timeout": config.timeout,
        "retry": retry,
        "max_connections": 50,
        "timeout": config.timeout,
        **overrides,
    }
    pool = aioredis.BlockingConnectionPool.from_url(config.url, **options)
    pool.connection_class = cancellable(pool.connection_class)
    return aioredis.Redis.from_pool(pool)


def client() -> aioredis.Redis:
    """Return the running loop's client, made on first use and closed by `aclose`."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = connect()
    return _clients[loop]


async def aclose() -> None:
    """Close the running loop's client, if there is one."""
    held = _clients.pop(asyncio.get_running_loop(), None)
    if held is not None:
        await held.aclose()


def _command(call: Call[Any]) -> tuple[Any, ...]:
    return call.args if call.script is None else ("EVALSHA", call.script.sha, 1, *call.args)


def _not_run(calls: Sequence[Call[Any]], replies: Sequence[Any]) -> list[int]:
    """Return which calls found no script."""
    return [
        index
        for index, (call, reply) in enumerate(zip(calls, replies, strict=True))
        if isinstance(reply, NoScriptError) and call.script is not None
    ]


def _to_load(calls: Sequence[Call[Any]]) -> list[Script]:
    """Return these calls' scripts and all of the engine's.

    All, so that a pipeline finds either every script or none, and keeps its order.
    """
    scripts = {script.sha: script for script in engine_scripts()}
    scripts |= {call.script.sha: call.script for call in calls if call.script is not None}
    return list(scripts.values())


def _result(call: Call[Any], reply: Any) -> Any:
    if not isinstance(reply, Exception):
        return call.parse(reply)
    if call.damaged is not None and "WRONGTYPE" in str(reply):
        return call.damaged()
    raise reply


def _results(calls: Sequence[Call[Any]], replies: Sequence[Any]) -> list[Any]:
    return [_result(call, reply) for call, reply in zip(calls, replies, strict=True)]


async def arun(call: Call[T]) -> T:
    """Execute one call on the running loop's client."""
    result: T = (await arun_all([call]))[0]
    return result


async def arun_all(calls: Sequence[Call[Any]]) -> list[Any]:
    """Execute calls in order in one round trip; the first failed one raises StoreUnavailable.

    The calls before and after a failed one may have been executed: each is safe to repeat.
    """
    with translated():
        return _results(calls, await _replies(calls))


async def arun_each(calls: Sequence[Call[Any]]) -> list[Any]:
    """Do as `arun_all`, but answer StoreUnavailable in the place of a call that was refused.

    Raises StoreUnavailable only when there was no answer at all.
    """
    with translated():
        replies = await _replies(calls)
    results: list[Any] = []
    for call, reply in zip(calls, replies, strict=True):
        try:
            with translated():
                results.append(_result(call, reply))
        except StoreUnavailable as error:
            results.append(error)
    return results


async def _replies(calls: Sequence[Call[Any]]) -> list[Any]:
    # One limit for all of it: waiting for a connection, making it and the round trip may each
    # take their own time, and a caller is promised an answer within 3 s.
    async with asyncio.timeout(conf.redis_config().timeout + 0.3):
        return await _round_trip(calls)


async def _round_trip(calls: Sequence[Call[Any]]) -> list[Any]:
    replies = await _pipeline(calls)
    if again := _not_run(calls, replies):
        for script in _to_load(calls):
            await client().script_load(script.source)
        for index, reply in zip(again, await _pipeline([calls[i] for i in again]), strict=True):
            replies[index] = reply
    return replies


async def _pipeline(calls: Sequence[Call[Any]]) -> list[Any]:
    if len(calls) == 1:
        try:
            return [await client().execute_command(*_command(calls[0]))]  # type: ignore[no-untyped-call] # redis-py
        except ResponseError as error:
            return [error]
    async with client().pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.execute_command(*_command(call))
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies


def run(call: Call[T]) -> T:
    """Execute one call synchronously, over django-redis' connection (the admin, sync tasks)."""
    result: T = run_all([call])[0]
    return result


def run_all(calls: Sequence[Call[Any]]) -> list[Any]:
    """Execute calls in order in one round trip, synchronously."""
    connection: SyncRedis = get_redis_connection("default")
    with translated():
        replies = _sync_pipeline(connection, calls)
        if again := _not_run(calls, replies):
            for script in _to_load(calls):
                connection.script_load(script.source)
            retried = _sync_pipeline(connection, [calls[i] for i in again])
            for index, reply in zip(again, retried, strict=True):
                replies[index] = reply
        return _results(calls, replies)


def _sync_pipeline(connection: SyncRedis, calls: Sequence[Call[Any]]) -> list[Any]:
    with connection.pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.execute_command(*_command(call))  # type: ignore[no-untyped-call] # redis-py
        return [_decoded(reply) for reply in pipe.execute(raise_on_error=False)]


def _decoded(reply: Any) -> Any:
    if isinstance(reply, bytes):
        return reply.decode("utf-8", "replace")
    if isinstance(reply, (list, tuple)):
        return [_decoded(part) for part in reply]
    if isinstance(reply, dict):
        return {_decoded(name): _decoded(value) for name, value in reply.items()}
    return reply
