"""Measures one contestant once: throughput, latency and stops, in processes of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from tasks_app.supervisor.redis_server import find_server
from tests.benchmarks.contestants import ROOT, Entry
from tests.support.processes import free_port

LOOK_SECONDS = 0.005
WARM = 0.05  # this share of the tasks goes before the clock starts
END_SECONDS = 5.0
OWN_COMMANDS = ("info", "zcard", "dbsize", "flushdb", "ping")  # what the benchmark itself asks


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much is measured."""

    tasks: int
    latencies: int
    stops: int
    seconds: float  # at most so long for each kind of sample
    deadline: float  # at most so long for a contestant in one round


@dataclass(slots=True, kw_only=True)
class Measured:
    """One contestant in one round; times in the units of the names, samples in milliseconds."""

    name: str
    round: int
    error: str = ""
    rate: float = 0.0
    enqueue_rate: float = 0.0
    enqueue_cpu_us: float = 0.0
    worker_cpu_us: float = 0.0
    redis_cpu_us: float = 0.0
    commands: float = 0.0
    bytes_queued: float = 0.0
    bytes_finished: float = 0.0
    seen: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    stop: list[float] = field(default_factory=list)


class Server:
    """A Redis on a loopback port, in memory only: no append-only file, no snapshots."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = {
            "port": str(self.port), "bind": "127.0.0.1", "dir": str(folder), "save": "",
            "appendonly": "no",
        }  # fmt: skip
        words = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [str(find_server()), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(END_SECONDS)


async def connected(url: str) -> redis.Redis:
    client = redis.Redis.from_url(url, decode_responses=True)
    async with asyncio.timeout(10):
        while True:
            try:
                await client.ping()
            except redis.ConnectionError:
                await asyncio.sleep(0.05)
            else:
                return client


async def measure(
    entry: Entry, number: int, amounts: Amounts, server: Server, folder: Path
) -> Measured:
    """Measure a contestant; what goes wrong or takes too long becomes its error."""
    measured = Measured(name=entry.name, round=number)
    client = await connected(server.url)
    try:
        await client.flushdb()
        async with asyncio.timeout(amounts.deadline):
            await Run(entry, amounts, server, client, folder).into(measured)
    except TimeoutError:
        measured.error = f"not done within {amounts.deadline:g} s"
    except (RuntimeError, OSError, ValueError) as error:
        measured.error = str(error)
    finally:
        await client.aclose()
    return measured


class Run:
    """One contestant's processes, and the questions they are asked."""

    def __init__(
        self, entry: Entry, amounts: Amounts, server: Server, client: redis.Redis, folder: Path
    ) -> None:
        self.entry, self.amounts, self.client, self.folder = entry, amounts, client, folder
        self.environment = {
            **os.environ, **entry.environment,
            "BENCH_REDIS_URL": server.url, "BENCH_FOLDER": str(folder),
            "PYTHONPATH": str(ROOT),
            # ours, as in production
            "DEBUG": "0", "SECRET_KEY": "the benchmark's, which protects nothing" * 2,
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "REDIS_URL": server.url, "REDIS_KEY_PREFIX": "bench",
        }  # fmt: skip
        self.tasks = amounts.tasks if entry.fast else max(1, amounts.tasks // 8)

    async def into(self, measured: Measured) -> None:
        module = f"tests.benchmarks.peers.{self.entry.module}"
        async with self._process("client", ["-m", module]) as self.asked:
            facts = await self._answer()
            empty = await self._memory()
            enqueued = await self._ask(do="enqueue", count=self.tasks)
            measured.enqueue_rate = self.tasks / enqueued["seconds"]
            measured.enqueue_cpu_us = enqueued["cpu"] / self.tasks * 1e6
            measured.bytes_queued = (await self._memory() - empty) / self.tasks
            async with self._process("worker", facts["worker"]) as worker:
                await self._throughput(measured, facts, worker)
                measured.bytes_finished = (await self._memory() - empty) / self.tasks
                await self._samples(measured, can_stop=facts["can_stop"])

    async def _samples(self, measured: Measured, *, can_stop: bool) -> None:
        seconds = self.amounts.seconds
        if self.amounts.latencies:
            found = await self._ask(do="latency", samples=self.amounts.latencies, seconds=seconds)
            measured.seen, measured.own = found["seen"], found["own"]
        if can_stop and self.amounts.stops:
            found = await self._ask(do="stop", samples=self.amounts.stops, seconds=seconds)
            measured.stop = found["stop"]

    async def _throughput(
        self, measured: Measured, facts: dict[str, Any], worker: asyncio.subprocess.Process
    ) -> None:
        """Look until all results are kept; the clock starts when the worker is warm."""
        first = await self._until(facts, worker, self.tasks * WARM)
        began, cpu = time.perf_counter(), session_cpu(worker.pid)
        redis_cpu, commands = await self._redis_cpu(), await self._commands()
        await self._until(facts, worker, self.tasks)
        took, left = time.perf_counter() - began, max(1, self.tasks - first)
        measured.rate = left / took
        measured.worker_cpu_us = (session_cpu(worker.pid) - cpu) / left * 1e6
        measured.redis_cpu_us = (await self._redis_cpu() - redis_cpu) / left * 1e6
        measured.commands = (await self._commands() - commands) / left

    async def _until(
        self, facts: dict[str, Any], worker: asyncio.subprocess.Process, enough: float
    ) -> int:
        """Look until so many tasks have finished, and answer how many have."""
        while (finished := await self._finished(facts)) < enough:
            if worker.returncode is not None:
                raise RuntimeError(f"its worker ended: {self._tail('worker')}")
            await asyncio.sleep(LOOK_SECONDS)
        return finished

    async def _finished(self, facts: dict[str, Any]) -> int:
        counted = int(await self.client.execute_command(*facts["count"]))
        return self.tasks - counted if facts["counts_left"] else counted - int(facts["besides"])

    async def _redis_cpu(self) -> float:
        info = await self.client.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    async def _commands(self) -> int:
        """Return how many commands Redis has executed, those inside scripts included."""
        info = await self.client.info("commandstats")
        ours = {f"cmdstat_{name}" for name in OWN_COMMANDS}
        return sum(int(stat["calls"]) for name, stat in info.items() if name not in ours)

    async def _memory(self) -> int:
        return int((await self.client.info("memory"))["used_memory"])

    async def _ask(self, **question: Any) -> dict[str, Any]:
        assert self.asked.stdin is not None
        self.asked.stdin.write(json.dumps(question).encode() + b"\n")
        await self.asked.stdin.drain()
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self.asked.stdout is not None
        while line := await self.asked.stdout.readline():
            with contextlib.suppress(ValueError):  # a library may print
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError(f"its client ended: {self._tail('client')}")

    def _log(self, name: str) -> Path:
        return self.folder / f"{self.entry.name}-{name}.log"

    def _tail(self, name: str) -> str:
        return self._log(name).read_text()[-2000:]

    @contextlib.asynccontextmanager
    async def _process(
        self, name: str, words: list[str]
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a process in a session of its own while the block runs, and end all of that."""
        with self._log(name).open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                self.entry.python, *words, cwd=ROOT, env=self.environment, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE if name == "client" else log,
                stderr=log,
            )  # fmt: skip
        try:
            yield process
        finally:
            await asyncio.shield(end_session(process))


async def end_session(process: asyncio.subprocess.Process) -> None:
    """Ask the session's processes to end, and kill what is still there a little later."""
    if process.stdin is not None:
        process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
    for pid in session(process.pid):  # children that made a process group of their own
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def session(leader: int) -> set[int]:
    """Return the live processes of a session."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.add(int(folder.name))
    return found


def session_cpu(leader: int) -> float:
    """Return the CPU seconds that a session's threads have used, from the scheduler's own clock."""
    used = 0
    for pid in session(leader):
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                used += int(thread.read_text().split()[0])
    return used / 1e9


def versions(entry: Entry) -> str:
    """Return the contestant's own version line, e.g. `arq==0.28.0`."""
    if not entry.requirements.exists():
        return f"Python {sys.version.split()[0]}"
    lines = entry.requirements.read_text().splitlines()
    return ", ".join(line for line in lines if line.partition("==")[0].startswith(entry.module))
