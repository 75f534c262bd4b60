"""Answers no faster than their client reads, on every server; a client that stops is dropped.

uvicorn's and granian's `send` waits for the client by itself. daphne's never does: whatever is
sent is kept in memory. There Twisted's own producer interface tells when the buffer is full.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from tasks_app.backpressure import PushProducer

log = logging.getLogger("signalbox.rest")

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[..., Awaitable[None]]

PIECE_BYTES = 64 * 1024  # written at once; what is larger is cut, so that each piece has its time
SLOW_READER_SECONDS = 30.0  # one piece may take so long to leave
DROP_SECONDS = 5.0  # within which a server tells that a dropped connection has gone


def paced(application: Application) -> Application:
    """Wrap an HTTP application: its `send` waits until the client has read enough."""

    async def answer(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        way = _way(send)
        try:
            await application(scope, receive, Pace(way, str(scope.get("path", ""))).send)
        finally:
            way.end()

    return answer


class Pace:
    """Sends one answer piece by piece, each within its time."""

    def __init__(self, way: Way, path: str) -> None:
        self._way = way
        self._path = path

    async def send(self, message: Message) -> None:
        body = message.get("body", b"")
        if len(body) <= PIECE_BYTES:
            await self._send(message)
            return
        for first in range(0, len(body), PIECE_BYTES):
            is_last = first + PIECE_BYTES >= len(body)
            more = message.get("more_body", False) or not is_last
            piece = body[first : first + PIECE_BYTES]
            await self._send({**message, "body": piece, "more_body": more})

    async def _send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(SLOW_READER_SECONDS):
                await self._way.send(message)
        except TimeoutError:
            log.info("slow_reader_dropped path=%s", self._path)
            self._way.abort()
            # The server now says that the client has gone, and Django cancels what answers.
            await asyncio.sleep(DROP_SECONDS)
            raise ConnectionAbortedError from None


class Way:
    """The way out on a server whose `send` waits."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def send(self, message: Message) -> None:
        await self._send(message)

    def abort(self) -> None:
        """Drop the connection, as far as the server lets us."""
        transport = getattr(getattr(self._send, "__self__", None), "transport", None)
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    def end(self) -> None:
        """Note that the answer is over."""


class DaphneWay(Way):
    """The way out on daphne, as the producer of the Twisted request below."""

    def __init__(self, send: Send, request: Any) -> None:
        super().__init__(send)
        self._request = request  # untyped: Any of an untyped library
        self._producer = PushProducer()
        self._is_registered = False

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        if message.get("more_body", False):
            self._register()
            await self._send(message)
            # After and not before: who has filled the buffer waits with what it has said.
            await self._producer.room()
        else:
            self.end()
            await self._send(message)

    def abort(self) -> None:
        channel = self._request.channel
        if channel is not None:
            channel.transport.abortConnection()

    def end(self) -> None:
        if self._is_registered:
            self._is_registered = False
            if self._request.channel is not None:
                self._request.unregisterProducer()

    def _register(self) -> None:
        if not self._is_registered and self._request.channel is not None:
            self._is_registered = True
            self._request.registerProducer(self._producer, True)


def _way(send: Send) -> Way:
    arguments: tuple[Any, ...] = getattr(send, "args", ())
    if len(arguments) == 1 and hasattr(arguments[0], "registerProducer"):
        return DaphneWay(send, arguments[0])
    return Way(send)
