"""Sockets on one web process: what an idle one costs, and how fast one message reaches many.

Beside ours, in the same run: a bare Channels consumer with `group_send`, python-socketio with its
Redis manager, and a bare local loop over the ASGI `send`, each on a process of its own under each
server. CPU is the web process' alone. `python -m tests.benchmarks.fanout --sockets 2000`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.contestants import Entry
from tests.benchmarks.measure import Server as Redis
from tests.benchmarks.sockets import Socket, frame, handshake
from tests.realtime.site import ROOT, Site, free_port

ONE, ROOM, ALL = "one", "room", "all"
SETTLE_SECONDS = 2.0
MESSAGE_SECONDS = 60.0  # one message must have reached everybody
CONNECT_SECONDS = 300.0
SOCKETIO = Entry(name="python-socketio", module="socketio_peer")

Publish = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many sockets, how many of them in the room, how many messages to each target."""

    sockets: int
    room: int
    messages: int

    def rooms_of(self, number: int) -> list[str]:
        """Return which targets a socket belongs to."""
        return [ALL, *([ROOM] if number < self.room else []), *([ONE] if number == 0 else [])]

    def size(self, target: str) -> int:
        return {ONE: 1, ROOM: self.room, ALL: self.sockets}[target]


@dataclass(slots=True)
class Process:
    """A web process, as /proc sees it."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Return the seconds that its threads have spent on a processor."""
        parts = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(part.read_text().split()[0]) for part in parts) / 1e9

    def resident(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGESIZE"
        )


@dataclass(slots=True)
class Crowd:
    """All sockets of a run, and what has reached them."""

    process: Process
    is_ready: Callable[[Socket, str], bool]
    sockets: list[Socket] = field(default_factory=list)
    ready: int = 0
    arrived: list[float] = field(default_factory=list)  # seconds under way
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, path: str, headers: dict[str, str], first: str = "") -> None:
        request = handshake(path, self.process.port, headers)
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(
            lambda: Socket(request, self._arrive), "127.0.0.1", self.process.port
        )
        self.sockets.append(socket)
        if first:
            socket.send(first)

    def _arrive(self, socket: Socket, text: str, now: float) -> None:
        if (at := text.find("@")) >= 0:
            self.arrived.append(now - float(text[at + 1 : text.index("@", at + 1)]))
            self.changed.set()
        elif self.is_ready(socket, text):
            self.ready += 1
            self.changed.set()

    async def until(self, enough: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not enough():
                self.changed.clear()
                await self.changed.wait()


async def fill(crowd: Crowd, amounts: Amounts, open_one: Callable[[int], Awaitable[None]]) -> float:
    """Open the sockets, at most 50 under way; return how many a second were accepted."""
    began = time.perf_counter()
    for number in range(amounts.sockets):
        await crowd.until(lambda: crowd.ready > number - 50, CONNECT_SECONDS)  # noqa: B023 awaited here
        await open_one(number)
    await crowd.until(lambda: crowd.ready >= amounts.sockets, CONNECT_SECONDS)
    return amounts.sockets / (time.perf_counter() - began)


async def measure(crowd: Crowd, amounts: Amounts, publish: Publish) -> dict[str, float]:
    """Send messages to one, to the room and to all; each when the one before has arrived."""
    found: dict[str, float] = {}
    for target in (ONE, ROOM, ALL):
        size = amounts.size(target)
        crowd.arrived.clear()
        await one_message(crowd, publish, target, size)  # warm
        crowd.arrived.clear()
        began, cpu = time.perf_counter(), crowd.process.cpu()
        for _ in range(amounts.messages):
            await one_message(crowd, publish, target, size)
        seconds, cpu = time.perf_counter() - began, crowd.process.cpu() - cpu
        late = sorted(crowd.arrived)
        found[f"{target} p50 ms"] = statistics.median(late) * 1000
        found[f"{target} p99 ms"] = late[min(len(late) - 1, int(len(late) * 0.99))] * 1000
        found[f"{target} per s"] = len(late) / seconds
        found[f"{target} per CPU s"] = len(late) / cpu
    return found


async def one_message(crowd: Crowd, publish: Publish, target: str, size: int) -> None:
    wanted = len(crowd.arrived) + size
    await publish(target, f"@{time.perf_counter():.6f}@ a message of some words, as they are")
    await crowd.until(lambda: len(crowd.arrived) >= wanted, MESSAGE_SECONDS)


# --- contestants ---------------------------------------------------------------------------------


@asynccontextmanager
async def served(
    python: str, module: str, kind: str, environment: dict[str, str], folder: Path
) -> AsyncIterator[Process]:
    """Run an ASGI application under a server while the block runs."""
    port = free_port()
    words = {
        "daphne": ["-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", module],
        "uvicorn": ["-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--log-level",
                    "warning", module],
    }[kind]  # fmt: skip
    with (folder / f"{module.partition(':')[0]}-{kind}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            python, *words, cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                assert process.returncode is None, log.name
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        yield Process(process.pid, port)
    finally:
        process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def bare(crowd: Crowd, amounts: Amounts, _: dict[str, Any]) -> AsyncIterator[Any]:
    async def open_one(number: int) -> None:
        await crowd.open(query("/?", amounts, number), {})

    await crowd.open("/control", {})
    await crowd.until(lambda: crowd.ready == 1, 10)
    control, crowd.ready = crowd.sockets[0], 0

    async def publish(target: str, text: str) -> None:
        control.send(f"{target} {text}")

    yield open_one, publish


@asynccontextmanager
async def group_send(crowd: Crowd, amounts: Amounts, given: dict[str, Any]) -> AsyncIterator[Any]:
    from channels_redis.pubsub import RedisPubSubChannelLayer  # noqa: PLC0415 only this one's

    layer = RedisPubSubChannelLayer(hosts=[given["redis"]])

    async def open_one(number: int) -> None:
        await crowd.open(query("/?", amounts, number), {})

    async def publish(target: str, text: str) -> None:
        await layer.group_send(target, {"type": "told", "text": text})

    yield open_one, publish
    await layer.flush()


@asynccontextmanager
async def python_socketio(
    crowd: Crowd, amounts: Amounts, given: dict[str, Any]
) -> AsyncIterator[Any]:
    emitter = await asyncio.create_subprocess_exec(
        SOCKETIO.python, "-m", "tests.benchmarks.fanout_peers.socketio_peer", "emit",
        cwd=ROOT, env=given["environment"], stdin=subprocess.PIPE,
    )  # fmt: skip
    assert emitter.stdin is not None
    pipe = emitter.stdin

    async def open_one(number: int) -> None:
        path = query("/socket.io/?EIO=4&transport=websocket&", amounts, number)
        await crowd.open(path, {}, first="40")

    async def publish(target: str, text: str) -> None:
        pipe.write(f"{target} {text}\n".encode())
        await pipe.drain()

    try:
        yield open_one, publish
    finally:
        pipe.close()
        await emitter.wait()


@asynccontextmanager
async def signalbox(crowd: Crowd, amounts: Amounts, given: dict[str, Any]) -> AsyncIterator[Any]:
    site: Site = given["site"]

    async def open_one(number: int) -> None:
        account = site.accounts[number % (len(site.accounts) - 10)]
        if number and account is site.accounts[0]:
            account = site.accounts[1]
        await crowd.open("/ws/", account.bearer)
        socket = crowd.sockets[-1]
        joins = [room for room in amounts.rooms_of(number) if room != ONE]
        given["waits"][socket] = len(joins)
        for room in joins:
            socket.send(frame("room:join", room=f"public:{room}"))

    from realtime import notify_user  # noqa: PLC0415 only here Django is configured
    from realtime.domain import messages  # noqa: PLC0415 the same
    from realtime.store import channels  # noqa: PLC0415 the same
    from tasks_app import api  # noqa: PLC0415 the same

    async def publish(target: str, text: str) -> None:
        if target == ONE:
            await notify_user(site.accounts[0].id, "told", text)
            return
        room = f"public:{target}"
        sender = {"id": "0", "name": "bench"}
        data = {"room": room, "from": sender, "event": "told", "data": text}
        await channels.publish_to_room(room, messages.encode("room:event", data))

    yield open_one, publish
    await api.shutdown()


def query(path: str, amounts: Amounts, number: int) -> str:
    return path + "&".join(f"room={room}" for room in amounts.rooms_of(number))


def answered(waits: dict[Socket, int]) -> Callable[[Socket, str], bool]:
    """Say of our frames when a socket has joined all of its rooms."""

    def is_ready(socket: Socket, text: str) -> bool:
        if json.loads(text)["type"] != "ack":
            return False
        waits[socket] -= 1
        return waits[socket] == 0

    return is_ready


def socketio_ready(socket: Socket, text: str) -> bool:
    if text == "2":
        socket.send("3")
    return text.startswith("42")


CONTESTANTS = {
    "bare loop": (bare, "tests.benchmarks.fanout_peers.bare:application"),
    "signalbox": (signalbox, "project.asgi:application"),
    "group_send": (group_send, "tests.benchmarks.fanout_peers.group_send:application"),
    "python-socketio": (
        python_socketio, "tests.benchmarks.fanout_peers.socketio_peer:application",
    ),
}  # fmt: skip


async def contest(
    name: str, kind: str, amounts: Amounts, given: dict[str, Any], folder: Path
) -> dict[str, float]:
    use, module = CONTESTANTS[name]
    environment: dict[str, str] = given["environment"]
    waits: dict[Socket, int] = {}
    ready: dict[str, Callable[[Socket, str], bool]] = {
        "signalbox": answered(waits),
        "python-socketio": socketio_ready,
    }
    python = SOCKETIO.python if name == SOCKETIO.name else sys.executable
    async with served(python, module, kind, environment, folder) as process:
        crowd = Crowd(process, ready.get(name, lambda _, text: text == "ready"))
        async with use(crowd, amounts, {**given, "waits": waits}) as (open_one, publish):
            await asyncio.sleep(SETTLE_SECONDS)
            before = process.resident()
            rate = await fill(crowd, amounts, open_one)
            await asyncio.sleep(SETTLE_SECONDS)
            found = {
                "KB a socket": (process.resident() - before) / amounts.sockets / 1024,
                "accepted per s": rate,
                **await measure(crowd, amounts, publish),
            }
        for socket in crowd.sockets:
            socket.close()
        await asyncio.sleep(0.5)
    return found


async def run(
    servers: list[str], names: list[str], amounts: Amounts, given: dict[str, Any], folder: Path
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for kind in servers:
        for name in names:
            found[f"{name}, {kind}"] = await contest(name, kind, amounts, given, folder)
    return found


def prepared(redis_url: str, folder: Path) -> dict[str, Any]:
    """Make our site and let this process' Django be it, for what is published from here."""
    site = Site(folder=folder, redis_url=redis_url, prefix="bench")
    site.prepare()
    os.environ.update(site.environment)
    import django  # noqa: PLC0415 only now the environment says what it is to be

    django.setup()
    return {
        "site": site,
        "redis": redis_url,
        "environment": {**site.environment, "BENCH_REDIS_URL": redis_url},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--room", type=int, default=200)
    parser.add_argument("--messages", type=int, default=50)
    parser.add_argument("--servers", nargs="+", default=["daphne", "uvicorn"])
    parser.add_argument("--only", nargs="+", default=list(CONTESTANTS), choices=list(CONTESTANTS))
    options = parser.parse_args()
    amounts = Amounts(options.sockets, options.room, options.messages)
    folder = Path(tempfile.mkdtemp(prefix="signalbox-bench-"))
    if SOCKETIO.name in options.only:
        SOCKETIO.install()
    redis = Redis(folder)
    try:
        given = prepared(redis.url, folder)
        found = asyncio.run(run(options.servers, options.only, amounts, given, folder))
    finally:
        redis.end()
        shutil.rmtree(folder)
    print(
        f"{amounts.sockets} sockets, {amounts.room} in the room, {amounts.messages} messages each"
    )
    rows = list(next(iter(found.values())))
    print("| | " + " | ".join(rows) + " |")
    print("| --- |" + " ---: |" * len(rows))
    for name, one in found.items():
        print(f"| {name} | " + " | ".join(f"{one[row]:,.1f}" for row in rows) + " |")


if __name__ == "__main__":
    main()
