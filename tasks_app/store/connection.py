"""redis-py's connections, except for two things.

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
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import TimeoutError as RedisTimeoutError


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
