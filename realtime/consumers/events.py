"""The socket at `/ws/`: its handshake, its receive loop, its end.

A plain ASGI application: Channels' own consumers make a hop through the database thread before
every message.
"""

from __future__ import annotations

import asyncio
import logging

from realtime import auth, origins
from realtime.consumers.closing import Closing
from realtime.consumers.gate import Gate
from realtime.consumers.session import Session
from realtime.domain import close_codes, limits, messages
from realtime.domain.messages import ClientFrame, FrameError, Heartbeat, UserJoin
from realtime.hub import Hub, TooManySockets, hub
from realtime.outbox import Outbox
from realtime.scope import Message, Receive, Scope, Send
from realtime.server_adapter import connection
from tasks_app import errors

log = logging.getLogger(__name__)

CODES: dict[type[Exception], str] = {
    errors.TaskNotFound: "not_found",
    errors.NotAllowed: "forbidden",
    errors.AlreadyFinished: "conflict",
    errors.StoreUnavailable: "unavailable",
    auth.IdentityUnknown: "unavailable",
}


async def events_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one socket until it is closed; a foreign Origin is refused with 403."""
    async with asyncio.timeout(limits.CLOSE_SECONDS):
        await receive()
    if not origins.is_allowed(scope):
        await send({"type": "websocket.close"})
        return
    await EventsSocket(scope, receive, send, hub()).run()


class EventsSocket(Closing):
    """One connection, from its handshake to its end."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, hub: Hub) -> None:
        self._scope = scope
        self._receive = receive
        self._connection = connection(send)
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(self._connection, lambda: self.close(close_codes.TRY_LATER))
        self._gate = Gate(self._loop.time())
        # One deadline at a time: for signing in, or for the client's part of the closing.
        self._deadline = asyncio.timeout(None)
        self._session: Session | None = None
        self._is_admitted = False  # counted among the sockets that have not signed in
        self._is_closing = False

    async def run(self) -> None:
        try:
            async with self._deadline:
                await self._serve()
        except TimeoutError:
            if self._is_closing:
                self._connection.abort()
            else:
                self._send_close(close_codes.SIGN_IN_TIMEOUT)
        except asyncio.CancelledError:
            self._send_close(close_codes.RESTARTING)
            raise
        except Exception:  # the consumer's edge: what nobody foresaw ends this socket only
            log.exception("socket_failed")
            self._send_close(close_codes.INTERNAL_ERROR)
        finally:
            # Here and not at a disconnect message: daphne sends none when it shuts down.
            await self._leave()

    async def _serve(self) -> None:
        credential = auth.offered(self._scope)
        identity, refusal = await self._identified(credential)
        subprotocol = auth.subprotocol(self._scope)
        try:
            await self._connection.send({"type": "websocket.accept", "subprotocol": subprotocol})
        except OSError:
            return  # the client went away meanwhile
        self._connection.opened()
        with self._hub.holding(self, self._connection):
            if refusal is not None:
                self.close(refusal)
            elif identity is not None and credential is not None:
                await self._enter_or_close(identity, credential)
            else:
                self._wait_for_sign_in()
            while (message := await self._receive())["type"] != "websocket.disconnect":
                if not self._is_closing:
                    await self._received(message)

    async def _identified(
        self, credential: auth.Credential | None
    ) -> tuple[auth.Identity | None, int | None]:
        """Return whose the socket is, or the code that it is to be closed with, or neither."""
        if credential is None:
            return None, None
        try:
            identity = await auth.identify(credential)
        except auth.IdentityUnknown:
            return None, close_codes.TRY_LATER
        # An outdated cookie comes along unasked: a token may still follow in `user-join`.
        refused = identity is None and isinstance(credential, auth.Token)
        return identity, close_codes.NOT_SIGNED_IN if refused else None

    def _wait_for_sign_in(self) -> None:
        if not self._hub.admit():
            self.close(close_codes.TRY_LATER)
            return
        self._is_admitted = True
        self._deadline.reschedule(self._loop.time() + limits.SIGN_IN_SECONDS)

    async def _enter_or_close(self, identity: auth.Identity, credential: auth.Credential) -> None:
        try:
            await self._enter(identity, credential)
        except (errors.StoreUnavailable, TooManySockets):
            self.close(close_codes.TRY_LATER)

    async def _enter(self, identity: auth.Identity, credential: auth.Credential) -> Session:
        self._session = Session(identity, credential, self._outbox, self._hub.rooms, self.close)
        await self._hub.join(self._session)
        await self._session.register()
        self._discharge()
        if not self._is_closing:
            self._deadline.reschedule(None)
        return self._session

    async def _leave(self) -> None:
        self._discharge()
        await self._outbox.aclose()
        if self._session is not None:
            await self._session.aclose()
            await self._hub.leave(self._session)

    def _discharge(self) -> None:
        if self._is_admitted:
            self._is_admitted = False
            self._hub.discharge()

    async def _received(self, message: Message) -> None:
        session = self._session
        try:
            now = self._loop.time()
            incoming = self._gate.read(message, now, is_signed_in=session is not None)
            try:
                await self._act(session, incoming.frame, incoming.ack)
            except tuple(CODES) as error:
                raise FrameError(CODES[type(error)], _said(error), ack=incoming.ack) from error
        except FrameError as error:
            self._refuse(error)

    def _refuse(self, error: FrameError) -> None:
        self._outbox.push({"type": "websocket.send", "text": messages.refusal(error)})
        if error.close_code is not None:
            self.close(error.close_code)

    async def _act(self, session: Session | None, frame: ClientFrame, ack: int | None) -> None:
        try:
            if isinstance(frame, Heartbeat) and session is not None:
                session.heartbeat(ack)
                return
            with self._connection.reading_paused():
                if session is None:
                    session = await self._sign_in(frame)
                await session.handle(frame, ack)
        except FrameError as error:
            error.ack = ack
            raise

    async def _sign_in(self, frame: ClientFrame) -> Session:
        token = frame.auth.token if isinstance(frame, UserJoin) and frame.auth is not None else ""
        credential = auth.Token(token)
        identity = await auth.identify(credential)
        if identity is None:
            raise FrameError(
                "not_signed_in",
                "Sign in with a valid token, or in the browser, and connect again.",
                close_code=close_codes.NOT_SIGNED_IN,
            )
        try:
            return await self._enter(identity, credential)
        except errors.StoreUnavailable as error:
            # Not the client's fault: 1013 makes it come back, where waiting would end in 4408.
            detail = _said(error)
            raise FrameError("unavailable", detail, close_code=close_codes.TRY_LATER) from error
        except TooManySockets as error:
            detail = _said(error)
            raise FrameError("rate_limited", detail, close_code=close_codes.TRY_LATER) from error


def _said(error: Exception) -> str:
    if isinstance(error, errors.TasksError):
        return error.detail
    return str(error) or (type(error).__doc__ or "")
