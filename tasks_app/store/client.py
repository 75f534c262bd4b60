"""Executes calls: on the running loop's links, or synchronously over django-redis' connection.

Both are configured by CACHES. The keys of the calls that are made together share a slot, so in a
Cluster too they go to one node, in one round trip and in their order.
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
from redis import RedisCluster as SyncCluster
from redis import asyncio as aioredis
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tasks_app import conf
from tasks_app.errors import StoreUnavailable
from tasks_app.store import cluster, keys
from tasks_app.store.links import Link, Links
from tasks_app.store.nodes import is_elsewhere
from tasks_app.store.scripts import Call, Script, engine_scripts

T = TypeVar("T")

_links: WeakKeyDictionary[asyncio.AbstractEventLoop, Links] = WeakKeyDictionary()


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into ours, with the cause kept for the operator's log."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, RedisClusterException, OSError) as error:
        raise StoreUnavailable from error
    except RedisError as error:
        raise StoreUnavailable(f"Redis refused: {error}") from error


def links() -> Links:
    """Return the running loop's links, made on first use and closed by `aclose`."""
    loop = asyncio.get_running_loop()
    if loop not in _links:
        _links[loop] = Links(conf.redis_config())
    return _links[loop]


def client() -> aioredis.Redis:
    """Return the running loop's client of the only server; see `Links.only`."""
    return links().only


async def aclose() -> None:
    """Close the running loop's links, if there are any."""
    held = _links.pop(asyncio.get_running_loop(), None)
    if held is not None:
        await held.aclose()


def _key(calls: Sequence[Call[Any]]) -> str:
    """Return a key that says which server holds what the calls are about."""
    for call in calls:
        at = 0 if call.script is not None else 1
        if len(call.args) > at:
            return str(call.args[at])
    return keys.current().prefix


def _command(call: Call[Any]) -> tuple[Any, ...]:
    return call.args if call.script is None else ("EVALSHA", call.script.sha, 1, *call.args)


def _options(call: Call[Any]) -> dict[str, bool]:
    return {NEVER_DECODE: True} if call.is_binary else {}


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
    held, key = links(), _key(calls)
    link: Link | None = None
    try:
        # One limit for all of it: looking up the server, waiting for a connection, making it and
        # the round trip may each take their own time, and a caller is promised an answer in 3 s.
        async with asyncio.timeout(conf.redis_config().timeout + 0.3):
            for is_last in (False, True) if held.can_move else (True,):
                link = await held.to(key)
                try:
                    return await _round_trip(link.redis, calls)
                except RedisConnectionError:
                    held.suspect(link)
                    if is_last:
                        raise
    except (TimeoutError, RedisTimeoutError):
        if link is not None:
            held.suspect(link)
        raise
    raise AssertionError("the last try returns or raises")


class _Elsewhere(RedisConnectionError):
    """The server answered, but is not the one to ask; nothing of what it refused was done."""


async def _round_trip(redis: aioredis.Redis, calls: Sequence[Call[Any]]) -> list[Any]:
    replies = _here(await _pipeline(redis, calls))
    if again := _not_run(calls, replies):
        for script in _to_load(calls):
            await redis.script_load(script.source)
        retried = _here(await _pipeline(redis, [calls[i] for i in again]))
        for index, reply in zip(again, retried, strict=True):
            replies[index] = reply
    return replies


def _here(replies: list[Any]) -> list[Any]:
    """Return the replies of the right server; of another one none counts, not even those it gave.

    What it did do is repeated with the rest: every call is safe to repeat.
    """
    for reply in replies:
        if is_elsewhere(reply):
            raise _Elsewhere from reply
    return replies


async def _pipeline(redis: aioredis.Redis, calls: Sequence[Call[Any]]) -> list[Any]:
    if len(calls) == 1:
        try:
            call = calls[0]
            return [await redis.execute_command(*_command(call), **_options(call))]  # type: ignore[no-untyped-call] # redis-py
        except ResponseError as error:
            return [error]
    async with redis.pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.execute_command(*_command(call), **_options(call))
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies


def run(call: Call[T]) -> T:
    """Execute one call synchronously, over django-redis' connection (the admin, sync tasks)."""
    result: T = run_all([call])[0]
    return result


def run_all(calls: Sequence[Call[Any]]) -> list[Any]:
    """Execute calls in order in one round trip, synchronously."""
    with translated():
        connection: SyncRedis | SyncCluster = get_redis_connection("default")
        try:
            replies = _sync_round_trip(connection, calls)
        except RedisConnectionError:
            if not cluster.look_again(connection):
                raise
            replies = _sync_round_trip(connection, calls)
        return _results(calls, replies)


def _sync_round_trip(connection: SyncRedis | SyncCluster, calls: Sequence[Call[Any]]) -> list[Any]:
    redis = cluster.node_of(connection, _key(calls))
    replies = _here(_sync_pipeline(redis, calls))
    if again := _not_run(calls, replies):
        for script in _to_load(calls):
            redis.script_load(script.source)
        retried = _here(_sync_pipeline(redis, [calls[i] for i in again]))
        for index, reply in zip(again, retried, strict=True):
            replies[index] = reply
    return replies


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
