"""Compares the two layers of channels-redis: loss, latency, and a Redis that is restarted.

One process, one Redis of its own; bounded, a minute or two. `python -m tests.benchmarks.layers`
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from tests.support.redis_server import RedisServer

GROUP = "group"
QUIET_SECONDS = 1.0  # nothing comes for so long: the rest is lost
IDLE_SECONDS = 8.0
DOWN_SECONDS = 1.0
BACK_SECONDS = 20.0

Layers = dict[str, Callable[[str], Any]]
LAYERS: Layers = {
    "core": lambda url: RedisChannelLayer(hosts=[{"address": url}]),
    "core, capacity 5000": lambda url: RedisChannelLayer(hosts=[{"address": url}], capacity=5000),
    "pubsub": lambda url: RedisPubSubChannelLayer(hosts=[url]),
}


class Reader:
    """Receives on one channel of a group, as a consumer's loop would; begins anew after errors."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.arrived: list[tuple[int, float]] = []  # number, seconds under way
        self.failures: list[str] = []
        self.channel = ""
        self.reads = asyncio.Event()
        self.reads.set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.channel = await self.layer.new_channel()
        await self.layer.group_add(GROUP, self.channel)
        self._task = asyncio.create_task(self._read())
        await asyncio.sleep(0.2)  # the pub/sub layer subscribes without saying when it is done
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _read(self) -> None:
        while True:
            await self.reads.wait()
            try:
                message = await self.layer.receive(self.channel)
            except Exception as error:  # noqa: BLE001 whatever the layer raises is what we look at
                self.failures.append(type(error).__name__)
                await asyncio.sleep(0.05)
            else:
                self.arrived.append((message["n"], time.perf_counter() - message["at"]))

    async def settled(self) -> None:
        """Wait until nothing comes any more."""
        count = -1
        while count != len(self.arrived):
            count = len(self.arrived)
            await asyncio.sleep(QUIET_SECONDS)


async def send(layer: Any, number: int) -> None:
    await layer.group_send(GROUP, {"type": "x", "n": number, "at": time.perf_counter()})


async def latency(layer: Any, count: int) -> dict[str, Any]:
    async with Reader(layer) as reader:
        for number in range(count):
            await send(layer, number)
            await asyncio.sleep(0.002)
        await reader.settled()
    taken = sorted(seconds * 1000 for _, seconds in reader.arrived)
    return {
        "latency p50, ms": f"{statistics.median(taken):.2f}",
        "latency p99, ms": f"{taken[int(len(taken) * 0.99)]:.2f}",
        "lost of a steady stream": count - len(taken),
    }


async def burst(layer: Any, count: int) -> dict[str, Any]:
    async with Reader(layer) as reader:
        began = time.perf_counter()
        for number in range(count):
            await send(layer, number)
        seconds = time.perf_counter() - began
        await reader.settled()
    numbers = [number for number, _ in reader.arrived]
    return {
        "sent a second in a burst": f"{count / seconds:.0f}",
        "lost of a burst": count - len(numbers),
        "in order": "yes" if numbers == sorted(numbers) else "no",
    }


async def stall(layer: Any, count: int) -> dict[str, Any]:
    async with Reader(layer) as reader:
        await send(layer, 0)
        await reader.settled()
        reader.arrived.clear()
        reader.reads.clear()
        for number in range(count):
            await send(layer, number)
        reader.reads.set()
        await reader.settled()
    return {"lost while the consumer does not read": count - len(reader.arrived)}


async def idle(layer: Any) -> dict[str, Any]:
    async with Reader(layer) as reader:
        await asyncio.sleep(IDLE_SECONDS)
        failures = list(reader.failures)
    return {f"errors in {IDLE_SECONDS:g} idle seconds": ", ".join(failures) or "none"}


async def restart(layer: Any, server: RedisServer) -> dict[str, Any]:
    async with Reader(layer) as reader:
        await send(layer, 0)
        await reader.settled()
        server.kill()
        await asyncio.sleep(DOWN_SECONDS)
        await asyncio.to_thread(server.start)
        began = time.perf_counter()
        reader.arrived.clear()
        refused = sent = 0
        while not reader.arrived and time.perf_counter() - began < BACK_SECONDS:
            try:
                await send(layer, sent)
                sent += 1
            except Exception:  # noqa: BLE001 as above
                refused += 1
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - began
        await reader.settled()
        back = bool(reader.arrived)
    return {
        "restart: seconds until a message arrives": f"{seconds:.2f}" if back else "never",
        "restart: accepted and lost": sent - len(reader.arrived),
        "restart: errors for the consumer": len(reader.failures),
        "restart: refused with an error": refused,
    }


async def measure(make: Callable[[str], Any], server: RedisServer, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    layer = make(server.url)
    for part in (
        latency(layer, count),
        burst(layer, count),
        stall(layer, count),
        idle(layer),
        restart(layer, server),
    ):
        found |= await part
    with suppress(Exception):
        await layer.flush()
    closing = getattr(layer, "close_pools", None)
    if closing is not None:
        await closing()
    return found


def run(count: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, make in LAYERS.items():
        folder = Path(tempfile.mkdtemp(prefix="signalbox-bench-"))
        server = RedisServer(folder)
        try:
            server.start()
            found[name] = asyncio.run(measure(make, server, count))
        finally:
            server.kill()
            shutil.rmtree(folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1000)
    found = run(parser.parse_args().messages)
    print("| | " + " | ".join(found) + " |")
    print("| --- |" + " --- |" * len(found))
    for row in next(iter(found.values())):
        print(f"| {row} | " + " | ".join(str(one[row]) for one in found.values()) + " |")


if __name__ == "__main__":
    main()
