"""What ASGI does not say about the servers: close codes, back-pressure and dropping a connection.

daphne (Twisted, autobahn) refuses to send the close codes 1003 to 1013, its `send` never waits, so
that a client that does not read fills the memory, and at SIGTERM it ends sockets without a word.
uvicorn's `send` waits, and its shutdown says 1012. Both need a way to drop a connection whose
client answers nothing. Everything here reaches for parts of the servers that are not their public
interface, and does without where they are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from realtime.scope import Message, Send
from tasks_app.backpressure import PushProducer


class Connection:
    """One socket's way out, on a server that keeps to ASGI: `send` waits for a slow client."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def send(self, message: Message) -> None:
        await self._send(message)

    async def close(self, code: int) -> None:
        await self._send({"type": "websocket.close", "code": code})

    def opened(self) -> None:
        """Note that the handshake is done."""

    def abort(self) -> None:
        """Drop the connection without a closing handshake, as far as the server lets us."""
        protocol = getattr(self._send, "__self__", None)
        transport = getattr(protocol, "transport", None)
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    @contextmanager
    def reading_paused(self) -> Iterator[None]:
        """Take nothing more from the client while the block runs, where the server would."""
        yield

    def before_shutdown(self, close_all: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let the server await `close_all` before it shuts down, where it would close nothing."""


class DaphneConnection(Connection):
    """The same on daphne, by way of its WebSocketProtocol and the Twisted transport below."""

    def __init__(self, send: Send, protocol: Any) -> None:
        super().__init__(send)
        self._protocol = protocol  # untyped: Any of an untyped library
        self._producer = PushProducer()

    def opened(self) -> None:
        # A frame over the server's own limit is answered by 1009 instead of a dropped connection.
        self._protocol.failByDrop = False
        # The HTTP channel is still registered from before the upgrade.
        self._protocol.transport.unregisterProducer()
        self._protocol.registerProducer(self._producer, True)

    async def send(self, message: Message) -> None:
        if not self._producer.has_room:  # asked first: this is the path of every delivery
            await self._producer.room()
        await self._send(message)

    async def close(self, code: int) -> None:
        self._producer.release()
        if self._protocol.state == self._protocol.STATE_CONNECTING:
            await self._send({"type": "websocket.close"})
            return
        # Unlike sendClose this takes every code; once closing, it does nothing.
        self._protocol.sendCloseFrame(code, None, False)

    def abort(self) -> None:
        self._producer.release()
        self._protocol.transport.abortConnection()

    @contextmanager
    def reading_paused(self) -> Iterator[None]:
        # daphne reads ahead into an unbounded queue; TCP holds the client back instead.
        transport = self._protocol.transport
        transport.pauseProducing()
        try:
            yield
        finally:
            transport.resumeProducing()

    def before_shutdown(self, close_all: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # daphne means to cancel its applications first, but gives up (KeyError) when a connection
        # was opened or closed in the second before.
        from twisted.internet import defer, reactor  # noqa: PLC0415 importing it installs a reactor

        def closing() -> Any:
            return defer.Deferred.fromFuture(asyncio.ensure_future(close_all()))

        core: Any = reactor  # the module stands for the reactor that it installed
        core.addSystemEventTrigger("before", "shutdown", closing)


def connection(send: Send) -> Connection:
    """Return the way out that fits the server which made `send`."""
    arguments: tuple[Any, ...] = getattr(send, "args", ())
    if len(arguments) == 1 and hasattr(arguments[0], "sendCloseFrame"):
        return DaphneConnection(send, arguments[0])
    return Connection(send)
