"""How many streams one user may have open in this process: each costs a subscription and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from tasks_app.rest.errors import ApiError

RETRY_AFTER_SECONDS = 5

_taken: Counter[tuple[str, str]] = Counter()


class Place:
    """One open stream of a user; given back once."""

    def __init__(self, kind: str, user_id: str) -> None:
        self._key = (kind, user_id)
        self._is_held = True
        _taken[self._key] += 1

    def release(self) -> None:
        if not self._is_held:
            return
        self._is_held = False
        _taken[self._key] -= 1
        if not _taken[self._key]:
            del _taken[self._key]


def take(kind: str, user_id: str, limit: int) -> Place:
    """Count a stream in; raises ApiError 429 when the user has `limit` of that kind open here."""
    if _taken[kind, user_id] >= limit:
        detail = f"You have {limit} {kind} open here. Close some, then try again."
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise ApiError(429, detail, error_type="too_many_streams", headers=headers)
    return Place(kind, user_id)


async def holding(place: Place, frames: AsyncGenerator[str]) -> AsyncGenerator[str]:
    """Yield the frames, and give the place back at their end, however it comes."""
    try:
        async with aclosing(frames):
            async for frame in frames:
                yield frame
    finally:
        place.release()
