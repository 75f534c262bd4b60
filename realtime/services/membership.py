"""One session's place in the pools, from its registration to its end."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from realtime.domain import limits
from realtime.domain.pools import Card
from realtime.services.pings import pings
from tasks_app.errors import StoreUnavailable


class TooManyModels(Exception):
    """A session said within the time-out that it uses more models than it may at once."""


class Membership:
    """A session in the session pool, with the models that it uses."""

    def __init__(self, session_id: str, user_id: str, name: str) -> None:
        since = int(time.time() * 1000)
        self._card = Card(session_id=session_id, user_id=user_id, name=name, since=since)
        self._pings = pings()
        self._is_registered = False
        self._models: dict[str, float] = {}  # by the last ping, by this loop's clock

    async def register(self) -> None:
        """Enter the pool; where Redis does not answer, the next sign of life does it."""
        self._is_registered = True
        with suppress(StoreUnavailable):
            await asyncio.shield(self._pings.alive(self._card))

    def keep_alive(self) -> None:
        """Say that the session is alive; written a little later. A lost one is made up by the next.

        A pool that has lost the session, because Redis did, has it again by this.
        """
        self._pings.alive(self._card)

    def use(self, model: str, now: float, timeout: float) -> asyncio.Future[None]:
        """Say that the session uses a model; the future is done when that is written.

        Await it shielded; it fails with StoreUnavailable. Raises TooManyModels.
        """
        if model not in self._models and len(self._models) >= limits.MAX_MODELS:
            self._models = {m: at for m, at in self._models.items() if at > now - timeout}
            if len(self._models) >= limits.MAX_MODELS:
                raise TooManyModels
        self._models[model] = now
        return self._pings.using(self._card, model)

    async def leave(self) -> None:
        """Leave both pools; where Redis does not answer, the session's time-outs do the same."""
        if not self._is_registered:
            return
        self._is_registered = False
        with suppress(StoreUnavailable):
            await asyncio.shield(self._pings.leave(self._card, set(self._models)))
