"""Writes a process' pings to the pools: those of the same few milliseconds together.

One writer per event loop: what it writes is in order, so a session that has left is not brought
back by a ping that it sent before.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from realtime import conf
from realtime.domain.pools import Card
from realtime.store import client, sessions, usage
from tasks_app.errors import StoreUnavailable

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.003


@dataclass(eq=False, slots=True)
class Batch:
    """What is to be written next, bounded by the sockets of this process; `written` is its end."""

    written: asyncio.Future[None]
    due: float  # by the loop's clock
    alive: dict[str, str] = field(default_factory=dict)  # session id: card
    using: dict[str, set[str]] = field(default_factory=dict)  # model: session ids
    gone: dict[str, str] = field(default_factory=dict)  # session id: card
    unused: set[tuple[str, str]] = field(default_factory=set)  # model, session id

    async def write(self) -> None:
        """Write it, in one round trip for each of the two pools; raises StoreUnavailable."""
        about_sessions = [
            *sessions.ping(list(self.alive.values()), timeout=conf.session_timeout_seconds()),
            *sessions.leave(list(self.gone.values())),
        ]
        using = {model: list(ids) for model, ids in self.using.items() if ids}
        about_usage = [
            *usage.ping(using, timeout=conf.usage_timeout_seconds()),
            *usage.leave(list(self.unused)),
        ]
        for calls in (about_sessions, about_usage):
            if calls:
                await client.arun_all(calls)


class Pings:
    """The pings of this process that wait to be written, and the asyncio task that writes them."""

    def __init__(self) -> None:
        self._batch: Batch | None = None
        self._writer: asyncio.Task[None] | None = None

    def alive(self, card: Card) -> asyncio.Future[None]:
        """Register a session, or keep it alive; the future is done when that is written.

        It fails with StoreUnavailable, and need not be awaited. Await it shielded: others share it.
        """
        batch = self._next()
        batch.alive[card.session_id] = card.encode()
        return batch.written

    def using(self, card: Card, model: str) -> asyncio.Future[None]:
        """Note that a session uses a model now; the future as with `alive`."""
        batch = self._next()
        batch.using.setdefault(model, set()).add(card.session_id)
        return batch.written

    def leave(self, card: Card, models: set[str]) -> asyncio.Future[None]:
        """Take a session out of the pools, and of what it still wanted to say; as with `alive`."""
        batch = self._next()
        batch.alive.pop(card.session_id, None)
        batch.gone[card.session_id] = card.encode()
        for model in models:
            batch.using.get(model, set()).discard(card.session_id)
            batch.unused.add((model, card.session_id))
        return batch.written

    def _next(self) -> Batch:
        if self._batch is None:
            loop = asyncio.get_running_loop()
            self._batch = Batch(loop.create_future(), loop.time() + GATHER_SECONDS)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="signalbox-pings")
        return self._batch

    async def _write(self) -> None:
        try:
            while self._batch is not None:
                # What gathered while the one before was written waits only for the rest.
                await asyncio.sleep(max(0.0, self._batch.due - asyncio.get_running_loop().time()))
                batch, self._batch = self._batch, None
                await _settle(batch)
        finally:
            self._writer = None


async def _settle(batch: Batch) -> None:
    """Write a batch and tell those who wait for it, also when this is cancelled."""
    outcome: Exception | None = StoreUnavailable()
    try:
        await batch.write()
        outcome = None
    except StoreUnavailable as error:
        outcome = error
    except Exception:  # the writer must live: nobody would be seen alive any more
        log.exception("pings_failed")
    finally:
        if outcome is None:
            batch.written.set_result(None)
        else:
            batch.written.set_exception(outcome)
            batch.written.exception()  # looked at: a ping without an ack is awaited by nobody


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Pings] = WeakKeyDictionary()


def pings() -> Pings:
    """Return the running loop's, made on first use."""
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        _by_loop[loop] = Pings()
    return _by_loop[loop]
