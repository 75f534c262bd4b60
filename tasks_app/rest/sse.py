"""Server-sent events: the frames, and the response that carries them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from django.http import StreamingHttpResponse

from tasks_app.domain.codec import dumps

HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # a proxy that buffers would hold the tokens back
}


def comment(text: str) -> str:
    """Return a line that clients ignore and that keeps proxies from hanging up."""
    return f": {text}\n\n"


def data(value: Any) -> str:
    return f"data: {dumps(value)}\n\n"


def event(event_id: str, kind: str, value: Any) -> str:
    name = "".join(kind.splitlines())
    return f"id: {event_id}\nevent: {name}\n{data(value)}"


class Begun:
    """A generator of frames whose first one was already taken, to learn whether it begins well.

    A generator that has begun is closed by Python when its response is dropped unsent, so what
    its `finally` does is done in every case.
    """

    def __init__(self, first: str, rest: AsyncGenerator[str]) -> None:
        self._first: str | None = first
        self._rest = rest

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._rest)


async def stream(frames: AsyncGenerator[str], **headers: str) -> StreamingHttpResponse:
    """Answer with the frames, once the first one is there; what fails before is raised."""
    first = await anext(frames)
    return StreamingHttpResponse(
        Begun(first, frames),
        content_type="text/event-stream",
        headers={**HEADERS, **headers},
    )
