"""The ceiling: a local loop over the ASGI `send` of each socket, with one prebuilt message."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

rooms: dict[str, list[Any]] = {}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve a socket in the rooms of its query; one at `/control` says what goes to which room."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    mine = parse_qs(scope["query_string"].decode()).get("room", [])
    for room in mine:
        rooms.setdefault(room, []).append(send)
    await send({"type": "websocket.send", "text": "ready"})
    while (message := await receive())["type"] != "websocket.disconnect":
        if scope["path"] == "/control":
            room, _, text = message["text"].partition(" ")
            frame = {"type": "websocket.send", "text": text}
            for member in tuple(rooms.get(room, ())):
                await member(frame)
    for room in mine:
        rooms[room].remove(send)
