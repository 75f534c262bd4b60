"""Cuts a reader's connection at random while a long answer streams, and compares the text.

Two web processes, one worker, one Redis, a scripted provider. A reader follows the answer over
`/ws/`, is cut off again and again, at any moment and mostly without a closing handshake, and goes
on from its last event on either process. `python -m tests.benchmarks.disconnects`
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.support.stack import Stack

WAIT_SECONDS = 30.0
ABRUPT_SHARE = 0.8
CHANCE = random.SystemRandom()
GONE = (ConnectionClosed, InvalidHandshake, OSError)


@dataclass(slots=True)
class Reader:
    """What one client has of a task's events, across its connections."""

    task_id: str
    text: str = ""
    last: str = ""
    cuts: int = 0
    abrupt: int = 0
    snapshots: int = 0
    is_over: bool = False
    ids: list[str] = field(default_factory=list)

    def take(self, event: dict[str, Any]) -> None:
        self.ids.append(event["id"])
        self.last = event["id"]
        kind, data = event["type"], event["data"]
        if kind == "token":
            self.text += data["text"]
        elif kind == "snapshot":
            self.text, self.snapshots = data["text"], self.snapshots + 1
        elif kind == "restart":
            self.text = ""
        self.is_over = kind == "end"

    async def read(self, connection: ClientConnection) -> None:
        data = {"task_id": self.task_id, "last_event_id": self.last or None}
        await connection.send(json.dumps({"type": "task:subscribe", "data": data}))
        while not self.is_over:
            frame = json.loads(await connection.recv())
            assert frame["type"] != "error", frame
            if frame["type"] == "task:event":
                self.take(frame["data"])


async def read_through(
    reader: Reader, urls: list[str], token: str, cuts: int, seconds: float
) -> None:
    """Read up to the end, over connections that live for `seconds` on the average."""
    headers = {"Authorization": f"Bearer {token}"}
    while not reader.is_over:
        life = CHANCE.uniform(0, 2 * seconds) if reader.cuts < cuts else WAIT_SECONDS * 10
        with suppress(*GONE):
            url = CHANCE.choice(urls)
            async with connect(
                url, additional_headers=headers, proxy=None, max_size=None
            ) as connection:
                with suppress(TimeoutError):
                    async with asyncio.timeout(life):
                        await reader.read(connection)
                if not reader.is_over:
                    reader.cuts += 1
                    if CHANCE.random() < ABRUPT_SHARE:
                        reader.abrupt += 1
                        connection.transport.abort()


async def run(stack: Stack, *, tokens: int, cuts: int) -> dict[str, Any]:
    """Stream one answer past one reader; return what was seen, raise if the text differs."""
    token = stack.token()
    body = {"model": model(tokens), "messages": [{"role": "user", "content": "go"}]}
    headers = {"Authorization": f"Bearer {token}"}
    urls = [f"{url.replace('http', 'ws')}/ws/" for url in stack.urls]
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=60) as http:
        started = await http.post(
            "/api/v1/chat/completions", json=body, headers={"Prefer": "respond-async"}
        )
        reader = Reader(started.json()["id"])
        await read_through(reader, urls, token, cuts, seconds=0.8 * tokens * 0.03 / cuts)
        task = (await http.get(f"/api/v1/tasks/{reader.task_id}?wait=10")).json()
    whole = task["result"]["choices"][0]["message"]["content"]
    found = {
        "disconnects": reader.cuts,
        "of these abrupt": reader.abrupt,
        "events": len(reader.ids),
        "received twice": len(reader.ids) - len(set(reader.ids)),
        "snapshots": reader.snapshots,
        "bytes of text": len(whole.encode()),
        "sha256 of the result": hashlib.sha256(whole.encode()).hexdigest(),
        "sha256 of what was read": hashlib.sha256(reader.text.encode()).hexdigest(),
    }
    if reader.text != whole or found["received twice"]:
        raise AssertionError(found)
    return found


def model(tokens: int) -> str:
    return f"fake-{tokens}-tokens-30-ms"


def measure(tokens: int, cuts: int) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="signalbox-bench-"))
    stack = Stack(folder, webs=2, workers=1, provider=["--model", model(tokens)])
    try:
        stack.start()
        return asyncio.run(run(stack, tokens=tokens, cuts=cuts))
    finally:
        stack.stop()
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=5000)
    parser.add_argument("--disconnects", type=int, default=500)
    given = parser.parse_args()
    for name, value in measure(given.tokens, given.disconnects).items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
