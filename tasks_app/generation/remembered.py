"""A value that is read now and then, for many readers at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

logger = logging.getLogger("signalbox.generation")


class Remembered(Generic[T]):
    """What was last read; belongs to one event loop, whose readers share one reading.

    A reading that fails with one of `outages` leaves the last known value in force.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Awaitable[T]],
        outages: tuple[type[Exception], ...] = (),
    ) -> None:
        self._name = name
        self._read = read
        self._outages = outages
        self._held: tuple[T, float] | None = None  # the value, and when it was asked for
        self._reading: asyncio.Task[T] | None = None

    async def get(self, fresh_s: float) -> T:
        """Return the value, read anew when it is older than `fresh_s` seconds.

        Raises what the reading raises, outages only as long as nothing was ever read.
        """
        if self._held is not None and time.monotonic() - self._held[1] < fresh_s:
            return self._held[0]
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_anew(), name=f"read {self._name}")
            self._reading.add_done_callback(self._done)
        # Shielded: the one reading outlives any reader that is cancelled.
        return await asyncio.shield(self._reading)

    def put(self, value: T) -> None:
        """Take a value that was just written."""
        self._held = (value, time.monotonic())

    async def _read_anew(self) -> T:
        asked_at = time.monotonic()
        try:
            value = await self._read()
        except self._outages as error:
            if self._held is None:
                raise
            logger.warning("last_known_kept what=%s error=%r", self._name, error)
            value = self._held[0]
        if self._held is None or self._held[1] <= asked_at:
            self._held = (value, asked_at)
        return self._held[0]  # perhaps something that was put meanwhile

    def _done(self, reading: asyncio.Task[T]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # whoever waited has it; perhaps nobody does any more
