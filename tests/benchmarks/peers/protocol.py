"""The tiny protocol between the benchmark and a contestant's client process.

A line of JSON on standard input asks, a line on standard output answers. The first line out says
what the benchmark must know: how to start a worker, and how to count the results kept in Redis.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
CONCURRENCY = 100
LOOK_SECONDS = 0.0002  # between two looks whether a result is in Redis
PATIENCE_SECONDS = 20.0
SETTLE_SECONDS = 0.05  # between two samples, so that each finds an idle worker


class Contestant(ABC):
    """A task queue, seen from a process that enqueues; `H` is whatever names one task."""

    # The worker's command line behind its virtual environment's `python`.
    worker: ClassVar[list[str]]
    # A Redis command whose integer answer follows the finished tasks: it counts those that are
    # kept (and `besides` other keys), or with `counts_left` those that are not finished yet.
    count: ClassVar[list[str]]
    counts_left: ClassVar[bool] = False
    besides: ClassVar[int] = 0
    can_wait: ClassVar[bool] = True
    can_stop: ClassVar[bool] = True

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect."""

    @abstractmethod
    async def enqueue_many(self, count: int) -> None:
        """Enqueue no-ops the fastest way that the library documents."""

    @abstractmethod
    async def enqueue(self) -> Any:
        """Enqueue one no-op as a view would, and answer what names it."""

    async def wait(self, handle: Any) -> None:
        """Wait for its result the library's own way."""
        raise NotImplementedError

    @abstractmethod
    def looks(self, handle: Any) -> list[str]:
        """Return the Redis command that shows whether its result is kept."""

    def sees(self, answer: Any) -> bool:
        return bool(answer)

    async def hang(self, path: str) -> Any:
        """Enqueue the task that waits to be stopped."""
        raise NotImplementedError

    async def stop(self, handle: Any) -> None:
        """Stop it the library's own way."""
        raise NotImplementedError


class Bare:
    """The least there is between this process and Redis: one blocking socket."""

    def __init__(self) -> None:
        host, port = REDIS_URL.removeprefix("redis://").partition("/")[0].split(":")
        self._socket = socket.create_connection((host, int(port)), 5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def ask(self, words: list[str]) -> Any:
        parts = [f"*{len(words)}\r\n", *(f"${len(w.encode())}\r\n{w}\r\n" for w in words)]
        self._socket.sendall("".join(parts).encode())
        line = self._file.readline().rstrip()
        kind, rest = line[:1], line[1:]
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        raise RuntimeError(line.decode())


async def latencies(contestant: Contestant, samples: int, seconds: float) -> dict[str, list[float]]:
    """Measure from before the enqueue to the result, in ms: seen in Redis, and by its own wait."""
    bare, found = Bare(), {"seen": [], "own": []}  # type: dict[str, list[float]]
    ways = ["seen", "own"] if contestant.can_wait else ["seen"]
    for way in ways:
        until = time.monotonic() + seconds
        for _ in range(samples):
            await asyncio.sleep(SETTLE_SECONDS)
            began = time.perf_counter()
            handle = await contestant.enqueue()
            if way == "own":
                await contestant.wait(handle)
            else:
                look_until_seen(contestant, bare, handle)
            found[way].append((time.perf_counter() - began) * 1000)
            if time.monotonic() > until:
                break
    return found


def look_until_seen(contestant: Contestant, bare: Bare, handle: Any) -> None:
    words = contestant.looks(handle)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not contestant.sees(bare.ask(words)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no result of {handle!r} in Redis")
        time.sleep(LOOK_SECONDS)  # nothing else goes on in this process


async def stops(contestant: Contestant, samples: int, seconds: float) -> dict[str, list[float]]:
    """Measure from the stop call to the `finally` of the coroutine in the worker, in ms."""
    found: list[float] = []
    folder = Path(os.environ["BENCH_FOLDER"])
    until = time.monotonic() + seconds
    for _ in range(samples):
        path = folder / f"hang-{uuid.uuid4().hex}"
        handle = await contestant.hang(str(path))
        await there(Path(f"{path}.started"))
        await asyncio.sleep(SETTLE_SECONDS)
        began = time.monotonic()
        stopping = asyncio.create_task(contestant.stop(handle))
        await there(path)
        await stopping
        found.append((float(path.read_text()) - began) * 1000)
        if time.monotonic() > until:
            break
    return {"stop": found}


async def there(path: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not path.exists():  # noqa: ASYNC110 ASYNC240 another process makes it
            await asyncio.sleep(0.002)


async def timed_enqueue(contestant: Contestant, count: int) -> dict[str, float]:
    began, cpu = time.perf_counter(), time.process_time()
    await contestant.enqueue_many(count)
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


async def serve(contestant: Contestant) -> None:
    kind = type(contestant)
    say({
        "worker": kind.worker, "count": kind.count, "counts_left": kind.counts_left,
        "besides": kind.besides, "can_stop": kind.can_stop,
    })  # fmt: skip
    await contestant.open()
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            if asked["do"] == "enqueue":
                say(await timed_enqueue(contestant, asked["count"]))
            elif asked["do"] == "latency":
                say(await latencies(contestant, asked["samples"], asked["seconds"]))
            else:
                say(await stops(contestant, asked["samples"], asked["seconds"]))
    finally:
        await contestant.close()


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def run(contestant: Contestant) -> None:
    asyncio.run(serve(contestant))
