"""A client of `/ws/` for the tests: frames in and out, with a deadline on every wait."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from realtime.domain import server_frames

Frame = dict[str, Any]
PATIENCE = 10.0


class Client:
    """One connection; answers are matched by their `ack`, everything else waits in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Frame] = []  # received and not asked for yet
        self._numbers = itertools.count(1)

    async def send(self, kind: str, data: Any = None, **envelope: Any) -> None:
        frame = {"type": kind, **envelope}
        if data is not None:
            frame["data"] = data
        await self.connection.send(json.dumps(frame))

    async def ask(self, kind: str, data: Any = None) -> Frame:
        """Send a frame and return its answer, an `ack` or an `error`."""
        number = next(self._numbers)
        await self.send(kind, data, ack=number)
        return await self.wait_for(lambda frame: frame.get("ack") == number)

    async def refusal(self, kind: str, data: Any = None) -> str:
        """Send a frame that is refused; return the code."""
        frame = await self.ask(kind, data)
        assert frame["type"] == "error", frame
        assert frame["data"]["detail"], frame
        return str(frame["data"]["code"])

    async def wait_for(self, wanted: Callable[[Frame], Any], within: float = PATIENCE) -> Frame:
        """Return the first frame that is wanted; the others stay, in order."""
        for index, frame in enumerate(self.frames):
            if wanted(frame):
                return self.frames.pop(index)
        async with asyncio.timeout(within):
            while True:
                frame = checked(await self.connection.recv())
                if wanted(frame):
                    return frame
                self.frames.append(frame)

    async def next(self, kind: str) -> Frame:
        frame = await self.wait_for(lambda frame: frame["type"] == kind)
        data: Frame = frame["data"]
        return data

    async def close_code(self, within: float = PATIENCE) -> int | None:
        """Read until the server closes; return its code."""
        async with asyncio.timeout(within):
            try:
                while True:
                    self.frames.append(checked(await self.connection.recv()))
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None

    async def is_alive(self) -> bool:
        return (await self.ask("heartbeat"))["type"] == "ack"


def checked(text: str | bytes) -> Frame:
    """Read a frame that the server has sent, which must be as its schema says."""
    frame: Frame = json.loads(text, parse_constant=pytest.fail)
    if frame["type"] == "ack":
        assert set(frame) == {"type", "ack", "data"}
    else:
        assert set(frame) - {"ack"} == {"type", "data"}
        assert frame["type"] == "error" or "ack" not in frame
        server_frames.FRAMES[frame["type"]].model_validate(frame["data"])
    return frame


@contextlib.asynccontextmanager
async def dial(
    url: str, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Client]:
    """Open a socket; `websockets` sends no Origin of its own."""
    options = {"max_size": None, "open_timeout": PATIENCE, "close_timeout": 1, **options}
    async with connect(url, additional_headers=headers, proxy=None, **options) as connection:
        yield Client(connection)
