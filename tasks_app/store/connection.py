"""Makes clients of one server, on redis-py's connections with two differences.

A cancellation is never lost while a command is sent: redis-py sends through `asyncio.wait_for`,
which before Python 3.12 swallows a cancellation that comes as its inner task ends;
`asyncio.timeout` does not. And commands are packed by hiredis, in C, which redis-py does for its
synchronous connections only: the settling of 100 attempts has 700 arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import hiredis
from redis import asyncio as aioredis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tasks_app.conf import RedisConfig

Address = tuple[str, int]


class Cancellable:
    """Mixed into a connection class, in front of it."""

    socket_timeout: float | None

    def pack_command(self, *args: Any) -> list[bytes]:
        try:
            return [hiredis.pack_command((*args[0].encode().split(), *args[1:]))]
        except (TypeError, UnicodeError, AttributeError):  # what redis-py words, or replaces
            packed: list[bytes] = super().pack_command(*args)  # type: ignore[misc] # behind us
            return packed

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        limit = self.socket_timeout
        if not self.is_connected:  # type: ignore[attr-defined] # of the connection behind us
            await self.connect_check_health(check_health=False)  # type: ignore[attr-defined] # same
        self.socket_timeout = None  # then redis-py does not wrap the write
        try:
            async with asyncio.timeout(limit):
                await super().send_packed_command(command, check_health)  # type: ignore[misc] # same
        except TimeoutError:
            raise RedisTimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = limit


def cancellable(kind: type[AbstractConnection]) -> Any:
    """Return the connection class with the mix-in in front."""
    return type(f"Cancellable{kind.__name__}", (Cancellable, kind), {})


def connect(config: RedisConfig, address: Address | None, **overrides: Any) -> aioredis.Redis:
    """Return a new client of one server; every wait of it has a limit unless overridden."""
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
        **parse_url(config.url),
    }
    kind = options.pop("connection_class", SSLConnection if config.tls else Connection)
    if address is not None:
        options["host"], options["port"] = address
    pool = aioredis.BlockingConnectionPool(connection_class=cancellable(kind), **options)
    return aioredis.Redis.from_pool(pool)
