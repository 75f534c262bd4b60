"""A small ASGI application for tests of the server: it echoes, streams, and says what happens."""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await {"http": http, "websocket": echo, "lifespan": lifespan}[scope["type"]](
        scope, receive, send
    )


async def lifespan(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    for name in ("startup", "shutdown"):
        message = await receive()
        assert message["type"] == f"lifespan.{name}"
        say(f"lifespan {name}")
        await send({"type": f"lifespan.{name}.complete"})


async def http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["method"] == "POST":
        say(f"body {(await receive())['body']!r}")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    client = scope["client"][0]
    await send({"type": "http.response.body", "body": client.encode(), "more_body": True})
    if scope["path"] == "/stream":
        await asyncio.sleep(60)
    await send({"type": "http.response.body", "body": b""})


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    try:
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": str(len(message["bytes"]))})
    finally:
        if scope["path"] == "/stubborn":
            await asyncio.shield(asyncio.sleep(60))
        await asyncio.sleep(0)
        say("socket ended")
