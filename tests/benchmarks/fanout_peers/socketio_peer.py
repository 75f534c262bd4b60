"""python-socketio with its Redis manager: the server, and with `emit` who emits from elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any
from urllib.parse import parse_qs

import socketio

URL = os.environ["BENCH_REDIS_URL"]

server = socketio.AsyncServer(
    async_mode="asgi", client_manager=socketio.AsyncRedisManager(URL), cors_allowed_origins="*"
)
application = socketio.ASGIApp(server)


@server.event
async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
    for room in parse_qs(environ["QUERY_STRING"]).get("room", []):
        await server.enter_room(sid, room)
    await server.emit("ready", to=sid)


async def emit() -> None:
    """Emit what comes in lines, `room text`, until there are no more."""
    manager = socketio.AsyncRedisManager(URL, write_only=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        room, _, text = line.rstrip("\n").partition(" ")
        await manager.emit("told", text, room=room)


if __name__ == "__main__" and sys.argv[1:] == ["emit"]:
    asyncio.run(emit())
