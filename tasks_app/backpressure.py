"""Twisted's back-pressure for asyncio: waits while a transport of daphne has enough to send.

daphne's own `send` never waits: whatever is sent is kept in memory. What Twisted's transport offers
instead is a push producer, which it pauses when its buffer is full.
"""

from __future__ import annotations

import asyncio


class PushProducer:
    """Registered with a transport (`registerProducer(it, True)`), it knows whether there is room.

    Twisted calls it on the thread of its reactor, which under daphne is the event loop's.
    """

    def __init__(self) -> None:
        self._has_room = asyncio.Event()
        self._has_room.set()

    @property
    def has_room(self) -> bool:
        """Whether the transport takes more at this moment."""
        return self._has_room.is_set()

    async def room(self) -> None:
        """Wait until the transport takes more, or is gone; the caller sets the deadline."""
        await self._has_room.wait()

    def release(self) -> None:
        """Let whoever waits go on: the connection is being closed."""
        self._has_room.set()

    # --- IPushProducer: called by the transport as its buffer fills and drains ---

    def pauseProducing(self) -> None:  # noqa: N802 Twisted's name
        self._has_room.clear()

    def resumeProducing(self) -> None:  # noqa: N802 Twisted's name
        self._has_room.set()

    def stopProducing(self) -> None:  # noqa: N802 Twisted's name
        self._has_room.set()
