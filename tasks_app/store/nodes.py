"""Which Redis server is asked: the only one, the Sentinels' master, or the owner of a key's slot.

An address is remembered until something speaks against it: a connection that broke, a time-out, or
an answer that only another server would not have given.
"""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any, Protocol

from redis.asyncio import Sentinel
from redis.asyncio.connection import parse_url
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from tasks_app.conf import RedisConfig
from tasks_app.store.connection import Address, connect

LOOK_UP_SECONDS = 1.0  # for one node; several may have to be asked within one call's limit

# A script that met such an answer puts text of its own around it, and so hides it from redis-py.
WRAPPED = re.compile(r"(?:^|[-\s])(READONLY|CLUSTERDOWN|MASTERDOWN)\s")


def is_elsewhere(reply: object) -> bool:
    """Say whether a reply means that this server is not, or not now, the one to ask.

    A redirection by ASK is not followed: while the engine's slot is being moved, its keys are on
    two nodes and no script could see all of them. It answers again when the move is complete.
    """
    if isinstance(reply, (ReadOnlyError, ClusterError, AskError, TryAgainError)):
        return True  # MASTERDOWN is a ClusterError, MOVED an AskError
    return isinstance(reply, ResponseError) and WRAPPED.search(str(reply)) is not None


class Finder(Protocol):
    """Answers where a key's master is."""

    can_move: bool

    async def find(self, key: str) -> Address | None:
        """Return the master's address; None where the URL itself says it."""

    def knows(self, address: Address | None) -> bool:
        """Whether this is, as far as is known, still the address of a master."""

    def suspect(self, address: Address | None) -> None:
        """Look up again before the next use, if this is what was believed."""

    async def aclose(self) -> None:
        """Close the connections over which addresses are looked up."""


class OneServer:
    """The server that the URL names."""

    can_move = False

    async def find(self, key: str) -> Address | None:  # noqa: ARG002 it holds every key
        return None

    def knows(self, address: Address | None) -> bool:  # noqa: ARG002 there is no other
        return True

    def suspect(self, address: Address | None) -> None:
        pass

    async def aclose(self) -> None:
        pass


class SentinelMaster:
    """The server that the Sentinels call the master of a service."""

    can_move = True

    def __init__(self, config: RedisConfig) -> None:
        self._service = config.service
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call] # redis-py
            list(config.sentinels), sentinel_kwargs=dict(config.sentinel_options)
        )
        self._known: Address | None = None
        self._looking = asyncio.Lock()

    async def find(self, key: str) -> Address | None:  # noqa: ARG002 it holds every key
        if self._known is None:
            async with self._looking:  # of many callers one asks
                if self._known is None:
                    found = await self._sentinel.discover_master(self._service)
                    self._known = (str(found[0]), int(found[1]))
        return self._known

    def knows(self, address: Address | None) -> bool:
        return self._known in {None, address}

    def suspect(self, address: Address | None) -> None:
        if self._known == address:
            self._known = None

    async def aclose(self) -> None:
        await self._sentinel.aclose()


class SlotOwner:
    """The node of a Cluster that owns a key's slot.

    redis-py's RedisCluster is not used here: it raises where ours wait for a free connection, and
    closes connections in asyncio tasks that nobody owns.
    """

    can_move = True

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        url: dict[str, Any] = dict(parse_url(config.url))
        self._seed: Address = (str(url["host"]), int(url.get("port", 6379)))
        self._owners: list[tuple[int, int, Address]] = []  # first slot, last slot, master
        self._nodes: set[Address] = set()  # replicas too: any node knows the slots
        self._failed: Address | None = None
        self._looking = asyncio.Lock()

    async def find(self, key: str) -> Address | None:
        if not self._owners:
            async with self._looking:  # of many callers one asks
                if not self._owners:
                    await self._look_up()
        slot = key_slot(key.encode())
        for first, last, address in self._owners:
            if first <= slot <= last:
                return address
        self._owners = []
        raise RedisConnectionError(f"No node of the Cluster owns slot {slot}.")

    async def _look_up(self) -> None:
        problem: Exception | None = None
        for address in self._candidates():
            try:
                rows = await self._slots(address)
            except (RedisError, OSError) as error:
                problem = error
                continue
            # A node that does not know its own address leaves it out.
            nodes = [[(str(n[0] or address[0]), int(n[1])) for n in row[2:]] for row in rows]
            self._owners = [
                (int(row[0]), int(row[1]), group[0]) for row, group in zip(rows, nodes, strict=True)
            ]
            self._nodes = {node for group in nodes for node in group}
            self._failed = None
            return
        raise RedisConnectionError("No node of the Cluster answers.") from problem

    def _candidates(self) -> list[Address]:
        """Return whom to ask, in this order: the one that failed would know last who took over."""
        others = [node for node in self._nodes if node != self._failed]
        random.shuffle(others)
        # The URL's name may lead on when all known addresses have changed.
        return list(dict.fromkeys([*others, *filter(None, [self._failed]), self._seed]))

    async def _slots(self, address: Address) -> Any:
        redis = connect(
            self._config, address, max_connections=1, retry=None,
            socket_connect_timeout=LOOK_UP_SECONDS, socket_timeout=LOOK_UP_SECONDS,
        )  # fmt: skip
        try:
            return await redis.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call] # redis-py
        finally:
            await redis.aclose()

    def knows(self, address: Address | None) -> bool:
        return not self._owners or address in {master for _, _, master in self._owners}

    def suspect(self, address: Address | None) -> None:
        if self._owners and self.knows(address):
            self._owners, self._failed = [], address

    async def aclose(self) -> None:
        pass


def finder_for(config: RedisConfig) -> Finder:
    if config.cluster:
        return SlotOwner(config)
    if config.sentinels:
        return SentinelMaster(config)
    return OneServer()
