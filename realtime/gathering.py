"""Looking up things one by one, in as few goes as there can be.

A look into the database costs a hop to its thread and, by Django's default, a new connection: much
more than one row more. So what is asked while a look is under way waits and is then looked up
together. Nobody gets an answer from before they asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextvars import Context
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

BATCH = 50  # so that other use of the database gets in between

K = TypeVar("K")
V = TypeVar("V")

Look = Callable[[Collection[K]], Awaitable[dict[K, V]]]


class Gathering(Generic[K, V]):
    """Lookups by key, in batches of each event loop; `look` leaves out what it does not find.

    A batch that fails by `away` failed for all who asked. By anything else it may be one key's
    doing: each is then looked up alone, so that only who asked for that one is told.
    """

    def __init__(self, look: Look[K, V], *, away: type[Exception]) -> None:
        self._look = look
        self._away = away
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiting[K, V]] = (
            WeakKeyDictionary()
        )

    async def find(self, key: K) -> V | None:
        """Return what `look` has for the key, None for nothing; raises what it raises."""
        loop = asyncio.get_running_loop()
        waiting = self._by_loop.get(loop)
        if waiting is None:
            waiting = self._by_loop[loop] = _Waiting(self._look, self._away)
        # Shielded: others may wait for the same.
        return await asyncio.shield(waiting.put(key))


class _Waiting(Generic[K, V]):
    """What one event loop asks, and the asyncio task that answers while there is anything."""

    def __init__(self, look: Look[K, V], away: type[Exception]) -> None:
        self._look = look
        self._away = away
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._answering: asyncio.Task[None] | None = None

    def put(self, key: K) -> asyncio.Future[V | None]:
        found = self._asked.get(key)
        if found is None:
            found = self._asked[key] = asyncio.get_running_loop().create_future()
        if self._answering is None:
            # In a context of its own: it is not about whoever happened to ask first.
            self._answering = asyncio.create_task(
                self._answer(), name="signalbox-lookups", context=Context()
            )
        return found

    async def _answer(self) -> None:
        some: dict[K, asyncio.Future[V | None]] = {}
        try:
            while self._asked:
                some = {key: self._asked.pop(key) for key in list(self._asked)[:BATCH]}
                await self._answer_some(some)
        finally:
            # Empty, unless this was cancelled: then nobody must wait for ever.
            for future in (*some.values(), *self._asked.values()):
                future.cancel()
            self._asked.clear()
            self._answering = None

    async def _answer_some(self, some: dict[K, asyncio.Future[V | None]]) -> None:
        try:
            found = await self._look(list(some))
        except Exception as error:  # noqa: BLE001 handed to who asked
            if len(some) > 1 and not isinstance(error, self._away):
                for key, future in some.items():
                    await self._answer_some({key: future})
                return
            for future in some.values():
                future.set_exception(error)
                future.exception()  # looked at: who asked may have gone
        else:
            for key, future in some.items():
                future.set_result(found.get(key))
