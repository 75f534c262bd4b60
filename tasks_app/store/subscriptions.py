"""One pub/sub connection per process and event loop, shared by everyone who listens.

It reconnects for ever. Whatever travels by pub/sub may be lost: after a reconnect every listener
is called with None, which means "read the source of truth again".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any
from weakref import WeakKeyDictionary

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from tasks_app.domain.owned import end_owned
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys

log = logging.getLogger(__name__)

Listener = Callable[[str | None], None]

SILENCE_SECONDS = 5.0  # then a ping is sent; twice that without any answer is a dead connection
CONFIRM_SECONDS = 2.5
MAX_BACKOFF_SECONDS = 1.0
INBOX_LIMIT = 256


class Subscriptions:
    """Channels and their local listeners over a single connection, owned by one reader task."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._known: set[str] = set()  # channels that were confirmed at least once
        self._requested: set[str] = set()  # channels asked for on the present connection
        self._stale: set[str] = set()  # of these, the ones that nobody listens to any more
        self._pubsub: Any = None  # redis-py leaves PubSub untyped
        self._reader: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self.reconnects = 0
        self.last_seen = 0.0  # monotonic time of the last sign of life
        self.connected = False

    async def add(self, channel: str, listener: Listener) -> None:
        """Listen to a channel; returns once Redis has confirmed, so nothing later is missed.

        Raises StoreUnavailable when Redis does not confirm in time; the listener is then removed.
        """
        confirmed = self._attach(channel, listener)
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await self._request(channel)
                await confirmed.wait()
        except TimeoutError:
            self._detach(channel, listener)
            raise StoreUnavailable from None
        except BaseException:  # cancelled at whatever point: nothing of it may stay behind
            self._detach(channel, listener)
            raise

    async def remove(self, channel: str, listener: Listener) -> None:
        """Stop listening, at once; a channel without listeners is unsubscribed by the reader."""
        self._detach(channel, listener)

    def _attach(self, channel: str, listener: Listener) -> asyncio.Event:
        if channel not in self._listeners:
            # Also while an old subscription is still there: the new one gets its own confirmation.
            self._listeners[channel] = []
            self._confirmed[channel] = asyncio.Event()
            self._requested.discard(channel)
            self._stale.discard(channel)
        self._listeners[channel].append(listener)
        self._ensure_reader()
        return self._confirmed[channel]

    def _detach(self, channel: str, listener: Listener) -> None:
        listeners = self._listeners.get(channel, [])
        with contextlib.suppress(ValueError):
            listeners.remove(listener)
        if listeners or channel not in self._listeners:
            return
        del self._listeners[channel], self._confirmed[channel]
        self._known.discard(channel)
        if self._pubsub is not None:
            self._stale.add(channel)

    async def _request(self, channel: str) -> None:
        """Subscribe on the present connection, unless somebody did; else the reader will."""
        async with self._lock:
            # A broken connection is the reader's to mend: it subscribes all channels again.
            # (redis-py would connect it here, and the reader would take the greeting's answers.)
            if not _is_connected(self._pubsub) or channel in self._requested:
                return
            with contextlib.suppress(RedisError, OSError):
                await self._pubsub.subscribe(channel)
                self._requested.add(channel)

    async def _drop_stale(self, pubsub: Any, base: str) -> None:
        async with self._lock, asyncio.timeout(CONFIRM_SECONDS):
            stale = [c for c in self._stale if c != base and c not in self._listeners]
            self._stale.clear()
            self._requested.difference_update(stale)
            if stale:
                await pubsub.unsubscribe(*stale)

    @contextlib.asynccontextmanager
    async def listening(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        await self.add(channel, listener)
        try:
            yield
        finally:
            await self.remove(channel, listener)

    @contextlib.asynccontextmanager
    async def inbox(self, channel: str) -> AsyncIterator[Inbox]:
        """Collect a channel's messages while the block runs."""
        box = Inbox()
        async with self.listening(channel, box.put):
            yield box

    async def aclose(self) -> None:
        """End the reader and close the connection; listeners hear nothing more."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await end_owned(reader)

    def _ensure_reader(self) -> None:
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._run(), name="signalbox-subscriptions")

    async def _run(self) -> None:
        backoff = 0.02
        while True:
            try:
                await self._read_until_broken()
            except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
                if self.connected:
                    log.warning("subscriptions_disconnected error=%s", type(error).__name__)
                    backoff = 0.02
            except Exception:  # whatever it was, the listeners must not go deaf for ever
                log.exception("subscriptions_failed")
            finally:
                self.connected = False
            self.reconnects += 1
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 not a secret
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def _read_until_broken(self) -> None:
        # No read time-out: silence is normal here, and `_silent` finds a dead connection by pings.
        # No retry below us: redis-py would mend the connection without a word, and nobody would
        # know that messages were missed.
        once = Retry(NoBackoff(), 0, supported_errors=())
        # The process's own channel is always there, so that the connection has a subscription.
        base, links = keys.current().name("commands"), client.links()
        async with asyncio.timeout(CONFIRM_SECONDS):
            link = await links.open(base, socket_timeout=None, max_connections=2, retry=once)
        pubsub = link.redis.pubsub(ignore_subscribe_messages=False)
        try:
            async with self._lock, asyncio.timeout(CONFIRM_SECONDS):
                wanted = set(self._listeners)
                await pubsub.subscribe(base, *wanted)
                self._pubsub, self._requested = pubsub, wanted
                self._stale = wanted.difference(self._listeners)
            self.last_seen = time.monotonic()
            # After a failover the old server may live on, and nothing would be said there any more.
            while _is_connected(pubsub) and links.serves(link):
                message = await pubsub.get_message(timeout=SILENCE_SECONDS)
                if message is None:
                    await self._silent(pubsub)
                else:
                    self.last_seen = time.monotonic()
                    self._dispatch(message)
                if self._stale and _is_connected(pubsub):
                    await self._drop_stale(pubsub, base)
            raise ConnectionResetError
        finally:
            links.suspect(link)
            self._pubsub = None
            for confirmed in self._confirmed.values():
                confirmed.clear()
            async with self._lock:  # a subscribe that is under way may be connecting it again
                await _close(pubsub, link.redis)

    async def _silent(self, pubsub: Any) -> None:
        if time.monotonic() - self.last_seen > 2 * SILENCE_SECONDS:
            raise TimeoutError
        if _is_connected(pubsub):
            async with asyncio.timeout(CONFIRM_SECONDS):
                await pubsub.ping()

    def _dispatch(self, message: dict[str, Any]) -> None:
        self.connected = True
        channel = message["channel"]
        if message["type"] == "subscribe":
            confirmed = self._confirmed.get(channel)
            if confirmed is not None:
                confirmed.set()
                if channel in self._known:
                    self._deliver(channel, None)
                self._known.add(channel)
        elif message["type"] == "message":
            self._deliver(channel, message["data"])

    def _deliver(self, channel: str, data: str | None) -> None:
        for listener in tuple(self._listeners.get(channel, ())):
            try:
                listener(data)
            except Exception:  # a listener's bug must not end everybody's subscriptions
                log.exception("listener_failed channel=%s", channel)


def _is_connected(pubsub: Any) -> bool:
    return pubsub is not None and pubsub.connection is not None and pubsub.connection.is_connected


async def _close(pubsub: Any, redis: Any) -> None:
    for closing in (pubsub.aclose, redis.aclose):
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await closing()


class Inbox:
    """A bounded buffer between a channel and one reader; overflow is a gap, told as None."""

    def __init__(self) -> None:
        self._messages: deque[str | None] = deque()
        self._arrived = asyncio.Event()

    def put(self, message: str | None) -> None:
        if len(self._messages) >= INBOX_LIMIT:
            self._messages.clear()
            message = None
        self._messages.append(message)
        self._arrived.set()

    async def get(self, timeout: float) -> str | None:  # noqa: ASYNC109 the caller's deadline
        """Return the next message; None after a gap or when nothing came within `timeout`."""
        if not self._messages:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        return self._messages.popleft()


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Subscriptions] = WeakKeyDictionary()


def subscriptions() -> Subscriptions:
    """Return the running loop's subscriptions, made on first use."""
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        _by_loop[loop] = Subscriptions()
    return _by_loop[loop]


async def aclose() -> None:
    """Close the running loop's subscriptions, if there are any."""
    held = _by_loop.pop(asyncio.get_running_loop(), None)
    if held is not None:
        await held.aclose()
