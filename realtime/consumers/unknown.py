"""Answers sockets at addresses where there is nothing."""

from __future__ import annotations

import asyncio

from realtime import origins
from realtime.domain import close_codes, limits
from realtime.scope import Receive, Scope, Send


async def unknown_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept and close with 4404, so that a browser sees the code; a foreign Origin gets 403."""
    async with asyncio.timeout(limits.CLOSE_SECONDS):
        await receive()
        if origins.is_allowed(scope):
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": close_codes.NOT_FOUND})
        else:
            await send({"type": "websocket.close"})
