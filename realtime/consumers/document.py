"""The socket at `/ws/documents/<id>/`: its handshake, its receive loop, its end.

It reads frames and hands them to the document's room, which does everything else.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

from django.db import Error as DatabaseError

from realtime import auth, conf, origins
from realtime.consumers.closing import Closing
from realtime.documents import access, protocol
from realtime.documents.database import in_database
from realtime.documents.protocol import MalformedFrame
from realtime.documents.room import Room
from realtime.documents.rooms import rooms
from realtime.domain import close_codes, limits
from realtime.errors import DocumentNotFound, DocumentUnavailable
from realtime.hub import Hub, hub
from realtime.outbox import Outbox
from realtime.scope import Message, Receive, Scope, Send
from realtime.server_adapter import connection

log = logging.getLogger(__name__)

DOCUMENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
FRAME_OVERHEAD_BYTES = 64 * 1024  # a frame may be so much larger than a document
TURN_SECONDS = 0.005
LARGE_FRAME_BYTES = 64 * 1024  # to check a larger one takes long enough to let others go on


async def document_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one socket until it is closed; a foreign Origin is refused with 403."""
    async with asyncio.timeout(limits.CLOSE_SECONDS):
        await receive()
    if not origins.is_allowed(scope):
        await send({"type": "websocket.close"})
        return
    await DocumentSocket(scope, receive, send, hub()).run()


class DocumentSocket(Closing):
    """One connection: a member of its document's room."""

    identity: auth.Identity
    credential: auth.Credential

    def __init__(self, scope: Scope, receive: Receive, send: Send, hub: Hub) -> None:
        self._scope = scope
        self._document_id: str = scope["url_route"]["kwargs"]["document_id"]
        self._receive = receive
        self._connection = connection(send)
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(self._connection, lambda: self.close(close_codes.TRY_LATER))
        self._deadline = asyncio.timeout(None)  # for the client's part of the closing
        self._room: Room | None = None
        self._is_closing = False
        self._is_open = True
        self._worked = 0.0  # seconds, since it has let others go on

    async def run(self) -> None:
        try:
            async with self._deadline:
                await self._serve()
        except TimeoutError:
            self._connection.abort()
        except asyncio.CancelledError:
            self._send_close(close_codes.RESTARTING)
            raise
        except Exception:  # the consumer's edge: what nobody foresaw ends this socket only
            log.exception("document_socket_failed")
            self._send_close(close_codes.INTERNAL_ERROR)
        finally:
            await self._outbox.aclose()

    # --- as a member of the room, and as one that the hub looks after -----------------------------

    @property
    def user_id(self) -> str:
        return self.identity.user_id

    def offer(self, frame: bytes) -> bool:
        return self._outbox.offer({"type": "websocket.send", "bytes": frame})

    def when_free(self, callback: Callable[[], None]) -> None:
        self._outbox.when_free(callback)

    async def recheck(self, identity: auth.Identity | None) -> None:
        """Close when the credential is no longer this user's; let the room look at the rights."""
        if identity is None or identity.user_id != self.identity.user_id:
            self.close(close_codes.NOT_SIGNED_IN)
        elif self._room is not None:
            self._room.rights_changed()

    # --- the connection --------------------------------------------------------------------------

    async def _serve(self) -> None:
        refusal = await self._refusal()
        subprotocol = auth.subprotocol(self._scope)
        try:
            await self._connection.send({"type": "websocket.accept", "subprotocol": subprotocol})
        except OSError:
            return  # the client went away meanwhile
        self._connection.opened()
        with self._hub.holding(self, self._connection):
            if refusal is not None:
                self.close(refusal)
            else:
                await self._be_in_the_room()
            while self._is_open:  # closing: until the client has answered
                await self._next()

    async def _refusal(self) -> int | None:
        """Return the code that the socket is to be closed with; None: it may enter."""
        credential = auth.offered(self._scope, in_query=True)
        if credential is None:
            return close_codes.NOT_SIGNED_IN
        try:
            identity = await auth.identify(credential)
            if identity is None:
                return close_codes.NOT_SIGNED_IN
            if not DOCUMENT_ID.fullmatch(self._document_id):
                return close_codes.NOT_FOUND
            found = await in_database(access.permissions_on, self._document_id, [identity.user_id])
        except (auth.IdentityUnknown, DatabaseError):
            return close_codes.TRY_LATER
        self.identity, self.credential = identity, credential
        # As over HTTP: what one may not see does not exist.
        return None if found else close_codes.NOT_FOUND

    async def _be_in_the_room(self) -> None:
        self._hub.watch(self)
        try:
            async with rooms().joined(self._document_id, self) as self._room:
                while self._is_open and not self._is_closing:
                    await self._next()
        except DocumentNotFound:
            self.close(close_codes.NOT_FOUND)
        except DocumentUnavailable:
            self.close(close_codes.TRY_LATER)
        finally:
            self._room = None
            self._hub.unwatch(self)

    async def _next(self) -> None:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._is_open = False
        elif not self._is_closing and self._room is not None:
            await self._received(message, self._room)

    async def _received(self, message: Message, room: Room) -> None:
        data: bytes | None = message.get("bytes")
        if data is None:
            self.close(close_codes.MALFORMED)
        elif len(data) > conf.document_max_bytes() + FRAME_OVERHEAD_BYTES:
            self.close(close_codes.TOO_LARGE)
        else:
            started_at = self._loop.time()
            try:
                large = len(data) > LARGE_FRAME_BYTES
                name = self.identity.name
                frame = (
                    await asyncio.to_thread(protocol.parse, data, name)
                    if large
                    else protocol.parse(data, name)
                )
            except MalformedFrame:
                self.close(close_codes.MALFORMED)
                return
            if room.is_full:
                with self._connection.reading_paused():
                    await room.put(self, frame)
            else:
                await room.put(self, frame)
                if not large:
                    await self._let_others_go_on(self._loop.time() - started_at)

    async def _let_others_go_on(self, worked: float) -> None:
        """Leave as much time to others as this socket has taken, however fast it sends."""
        self._worked += worked
        if self._worked >= TURN_SECONDS:
            pause, self._worked = self._worked, 0.0
            with self._connection.reading_paused():
                await asyncio.sleep(pause)
