"""How every socket is closed by us: the code first, then a moment for the client's answer."""

from __future__ import annotations

import asyncio

from realtime.domain import limits
from realtime.outbox import GONE, Outbox
from realtime.server_adapter import Connection


class Closing:
    """Mixed into a consumer, which sets these before it serves."""

    _connection: Connection
    _outbox: Outbox
    _loop: asyncio.AbstractEventLoop
    _deadline: asyncio.Timeout  # of all that the consumer does
    _is_closing: bool

    def close(self, code: int) -> None:
        """Close with a code; the client has a moment to answer before it is dropped."""
        if not self._is_closing:
            wait = limits.CLOSE_SECONDS if self._send_close(code) else 0.0
            self._deadline.reschedule(self._loop.time() + wait)

    def _send_close(self, code: int) -> bool:
        """Send the close frame without waiting; answer whether the server took it."""
        self._is_closing = True
        self._outbox.close()
        closing = self._connection.close(code)
        try:
            closing.send(None)
        except (StopIteration, *GONE):
            return True
        # The server waits for a client that does not read: the code cannot reach it.
        closing.close()
        return False
