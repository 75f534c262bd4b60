"""Documents under load and under fire: `python -m tests.benchmarks.documents WHAT`.

kills N        kills so many web and worker processes under two who write without a pause; fails if
               anything that anybody was told is missing afterwards
keystrokes N   N keystrokes within a minute: how many saves that makes
fan-out        50 clients in one document, each writing ten times a second for SECONDS: what arrives
trace N        an editing trace of N single characters from one client to another
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.realtime.documents.editor import Editor
from tests.realtime.documents.torture import bearer, prepared, rest, socket_url
from tests.support.eventually import eventually
from tests.support.stack import Stack

CLIENTS = 50
RATE = 10.0


@contextmanager
def running(webs: int) -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    stack = Stack(folder, webs=webs, workers=1)
    stack.environment["TASK_LEASE_SECONDS"] = "3"
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(folder)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def kills(number: int, seed: int) -> None:
    with running(webs=2) as stack:
        torture = prepared(stack, seed)
        asyncio.run(torture.run(number, say))
        say(
            f"kills={number} seed={seed} words={torture.written} "
            f"connections={torture.reconnects} lost=0"
        )


def keystrokes(number: int) -> None:
    with running(webs=1) as stack:
        token = stack.token()
        document_id = rest(stack, token, "POST", "/documents", json={}).json()["id"]

        async def write() -> str:
            editor = Editor()
            url = socket_url(stack, 0, document_id)
            async with editor.online(url, additional_headers=bearer(token)):
                started_at = time.monotonic()
                for count in range(number):
                    editor.type(str(count % 10))
                    due = started_at + (count + 1) * 60.0 / number
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                await asyncio.sleep(2)
            return str(editor.text)

        text = asyncio.run(write())
        shown = rest(stack, token, "GET", f"/documents/{document_id}").json()
        newest = rest(stack, token, "GET", f"/documents/{document_id}/versions/{shown['version']}")
        is_whole = newest.json()["content"] == text
        say(f"keystrokes={number} saves={shown['version'] - 1} saved_whole={is_whole}")


def fan_out(seconds: float) -> None:
    with running(webs=1) as stack:
        token = stack.token()
        document_id = rest(stack, token, "POST", "/documents", json={}).json()["id"]
        asyncio.run(_fan_out(stack, token, document_id, seconds))


async def _fan_out(stack: Stack, token: str, document_id: str, seconds: float) -> None:
    editors = [Editor() for _ in range(CLIENTS)]
    url = socket_url(stack, 0, document_id)
    async with AsyncExitStack() as open_ones:
        for editor in editors:
            await open_ones.enter_async_context(
                editor.online(url, additional_headers=bearer(token))
            )
        await asyncio.sleep(1)
        frames_before = sum(len(editor.frames) for editor in editors)
        delays: list[float] = []

        async def write(number: int, editor: Editor) -> None:
            await asyncio.sleep(random.random() / RATE)  # noqa: S311 no secret
            for count in range(int(seconds * RATE)):
                editor.type(f"{number}:{count} ")
                await asyncio.sleep(1 / RATE)

        async def watch() -> None:
            """Measure how long one's own characters take to the neighbour."""
            while True:
                mark = f"<{time.monotonic()}>"
                began = time.monotonic()
                editors[0].type(mark)
                await eventually(partial(_has, editors[-1], mark), within=60, every=0.001)
                delays.append(time.monotonic() - began)
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(write(n, editor) for n, editor in enumerate(editors)))
        watching.cancel()
        await eventually(partial(_are_same, editors), within=60, every=0.1)
        frames = sum(len(editor.frames) for editor in editors) - frames_before
        written = int(seconds * RATE) * CLIENTS
        spots = statistics.quantiles(delays, n=100)
        say(
            f"clients={CLIENTS} updates={written} identical=True frames={frames} "
            f"updates_per_frame={written * CLIENTS / frames:.1f} "
            f"p50={spots[49] * 1000:.0f}ms p99={spots[98] * 1000:.0f}ms"
        )


async def _has(editor: Editor, mark: str) -> bool:
    return mark in str(editor.text)[-4000:]


async def _are_same(editors: list[Editor]) -> bool:
    return len({str(editor.text) for editor in editors}) == 1


def trace(number: int, seed: int) -> None:
    with running(webs=1) as stack:
        token = stack.token()
        document_id = rest(stack, token, "POST", "/documents", json={}).json()["id"]
        asyncio.run(_trace(stack, token, document_id, number, seed))


async def _trace(stack: Stack, token: str, document_id: str, number: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 no secret
    one, other = Editor(), Editor()
    url = socket_url(stack, 0, document_id)
    headers = bearer(token)
    async with (
        one.online(url, additional_headers=headers),
        other.online(url, additional_headers=headers),
    ):
        started_at = time.monotonic()
        at = length = 0
        for count in range(number):
            if chance.random() < 0.01:
                at = chance.randrange(length + 1)
            if at and chance.random() < 0.3:
                at -= 1
                length -= 1
                del one.text[at : at + 1]
            else:
                one.text.insert(at, chance.choice("abcdefgh \n"))
                at += 1
                length += 1
            if count % 50 == 0:
                await asyncio.sleep(0)
        generated = time.monotonic() - started_at
        text = str(one.text)
        await eventually(partial(_are_same, [one, other]), within=600, every=0.05)
        took = time.monotonic() - started_at
        say(
            f"operations={number} characters={len(text)} identical=True "
            f"seconds={took:.1f} generated_in={generated:.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["kills", "keystrokes", "fan-out", "trace"])
    parser.add_argument("number", type=float, nargs="?")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if asked.what == "kills":
        kills(int(asked.number or 100), asked.seed)
    elif asked.what == "keystrokes":
        keystrokes(int(asked.number or 5000))
    elif asked.what == "fan-out":
        fan_out(asked.number or 10.0)
    else:
        trace(int(asked.number or 250_000), asked.seed)


if __name__ == "__main__":
    main()
