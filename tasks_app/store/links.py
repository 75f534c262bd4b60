"""The asynchronous clients of one event loop: a pool per server, and who says which server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis import asyncio as aioredis

from tasks_app.conf import RedisConfig
from tasks_app.store.connection import Address, connect
from tasks_app.store.nodes import finder_for


@dataclass(frozen=True, slots=True)
class Link:
    """A client of one server, and that server's address (None: the URL says it)."""

    redis: aioredis.Redis
    address: Address | None


class Links:
    """Leads each call to the server that holds its key; made and closed by client.py."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._finder = finder_for(config)
        self._clients: dict[Address | None, aioredis.Redis] = {}

    @property
    def can_move(self) -> bool:
        """Whether another server may take over: then a failed call is worth a second look-up."""
        return self._finder.can_move

    @property
    def only(self) -> aioredis.Redis:
        """The client of the only server; in a topology that moves there is none."""
        if self.can_move:
            raise TypeError("With Sentinels or a Cluster, ask `to` for the server of a key.")
        return self._client(None)

    async def to(self, key: str) -> Link:
        """Return the link to the server that holds the key; raises redis-py's errors."""
        address = await self._finder.find(key)
        for left in [a for a in self._clients if not self._finder.knows(a)]:
            await self._clients.pop(left).aclose()
        return Link(self._client(address), address)

    async def open(self, key: str, **overrides: Any) -> Link:
        """Return a link over a client of its own, for the caller to close."""
        address = await self._finder.find(key)
        return Link(connect(self._config, address, **overrides), address)

    def serves(self, link: Link) -> bool:
        """Whether the server is, as far as is known, still one to ask."""
        return self._finder.knows(link.address)

    def suspect(self, link: Link) -> None:
        """Look the address up again before the next use: this server did not do its part."""
        self._finder.suspect(link.address)

    async def aclose(self) -> None:
        """Close all of it; what is under way fails."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()
        await self._finder.aclose()

    def _client(self, address: Address | None) -> aioredis.Redis:
        if address not in self._clients:
            self._clients[address] = connect(self._config, address)
        return self._clients[address]
