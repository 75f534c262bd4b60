"""daphne with this project's limits, an orderly end, and ASGI lifespan, which it lacks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TextIO

from daphne.access import AccessLogGenerator
from daphne.endpoints import build_endpoint_description_strings
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from django.conf import settings
from twisted.internet import defer, reactor

log = logging.getLogger(__name__)

FRAME_OVERHEAD_BYTES = 64 * 1024
CLOSE_SECONDS = 3.0  # for requests and sockets to end when the server stops
LAST_WORDS_SECONDS = 0.5  # for what ends by itself then to be sent, before the rest is cancelled

Application = Callable[..., Coroutine[Any, Any, None]]
Drain = Callable[[], Coroutine[Any, Any, None]]


class AccessLog(AccessLogGenerator):  # type: ignore[misc] # daphne is untyped
    """Writes no query strings: they may hold tokens."""

    def __call__(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        path = str(details["path"]).partition("?")[0]
        super().__call__(protocol, action, {**details, "path": path})


class Lifespan:
    """Tells the application when the server starts and ends, as other ASGI servers do."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._to: asyncio.Queue[dict[str, Any]] = asyncio.Queue(2)
        self._from: asyncio.Queue[dict[str, Any]] = asyncio.Queue(2)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        self._task = asyncio.create_task(
            self._application(scope, self._to.get, self._from.put), name="signalbox-lifespan"
        )
        self._to.put_nowait({"type": "lifespan.startup"})

    async def stop(self) -> None:
        if self._task is None:
            return
        self._to.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        self._task.cancel()
        for outcome in await asyncio.gather(self._task, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("lifespan_failed error=%r", outcome)


class Requests(HTTPFactory):  # type: ignore[misc] # daphne is untyped
    """Leaves forms to the application: Twisted would parse them, and answer a broken one itself."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802 Twisted's name
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = partial(WebRequest, parsePOSTFormSubmission=False)
        return protocol


class WebServer(Server):  # type: ignore[misc] # daphne is untyped
    """daphne that stops listening first, then ends what runs within a deadline."""

    def __init__(self, application: Application, drain: Drain | None, **options: Any) -> None:
        super().__init__(application, **options)
        self._drain = drain
        self.failed = False
        self._ports: list[Any] = []
        self._lifespan = Lifespan(application)

    def run(self) -> None:
        # Later: the loop must run. The ignore: Twisted types this module as an unbound interface.
        reactor.callLater(0, self._lifespan.start)  # type: ignore[arg-type]
        super().run()

    @property
    def http_factory(self) -> Requests:
        return self._http_factory

    @http_factory.setter
    def http_factory(self, _: HTTPFactory) -> None:
        # daphne makes one of its own as it starts.
        self._http_factory = Requests(self)

    def listen_success(self, port: Any) -> None:
        self._ports.append(port)
        super().listen_success(port)

    def listen_error(self, failure: Any) -> None:
        self.failed = True
        super().listen_error(failure)

    def kill_all_applications(self) -> defer.Deferred[None]:
        """Replace daphne's: that one stumbles over closing connections, and waits for ever."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        for port in self._ports:
            port.stopListening()
        applications: list[asyncio.Future[None]] = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details
        ]
        running = [application for application in applications if not application.done()]
        if self._drain is not None and running:
            await self._drained(self._drain, running)
        for application in running:
            application.cancel()
        if running:
            await asyncio.wait(running, timeout=CLOSE_SECONDS)
        await self._lifespan.stop()

    async def _drained(self, drain: Drain, running: list[asyncio.Future[None]]) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await drain()
        except Exception:  # whatever it was: the server ends all the same
            log.exception("drain_failed")
        await asyncio.wait(running, timeout=LAST_WORDS_SECONDS)


def build_server(
    application: Application, *, host: str, port: int, output: TextIO, drain: Drain | None = None
) -> WebServer:
    """Return the server for this project's limits; `run` blocks until SIGINT or SIGTERM.

    At the end `drain` is awaited before the requests that are left are cancelled.
    """
    largest = settings.DOCUMENT_MAX_BYTES + FRAME_OVERHEAD_BYTES
    behind_proxy = settings.BEHIND_PROXY
    return WebServer(
        application,
        drain,
        endpoints=build_endpoint_description_strings(host=host, port=port),
        action_logger=AccessLog(output),
        # None: an answer may stream for as long as its task runs. What a client is slow to send
        # is limited by Twisted (60 s), what the application does by its own deadlines.
        http_timeout=None,
        # A socket may stay as long as its session: who may keep it is checked while it is open.
        websocket_timeout=-1,
        websocket_handshake_timeout=5,
        websocket_connect_timeout=10,
        websocket_max_message_size=largest,
        websocket_max_frame_size=largest,
        ping_interval=20,
        ping_timeout=30,
        application_close_timeout=10,
        proxy_forwarded_address_header="X-Forwarded-For" if behind_proxy else None,
        proxy_forwarded_proto_header="X-Forwarded-Proto" if behind_proxy else None,
        server_name="",
    )
