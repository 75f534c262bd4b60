"""One child process: started, its output passed on, started again when it dies, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks_app.supervisor.console import Console, Lines
from tasks_app.supervisor.tether import tethered

OUTPUT_SECONDS = 1.0  # for the last lines of a process that has ended
KILL_SECONDS = 5.0
TAIL_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, under which name, and how long it may take to end after SIGTERM."""

    name: str
    command: tuple[str, ...]
    grace: float
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Backoff:
    """How long to wait before a restart: doubling, capped, reset by a long life."""

    first: float = 0.5
    cap: float = 30.0
    settled: float = 30.0  # seconds of life after which the next failure counts as the first
    _next: float = 0.0

    def after(self, lived: float) -> float:
        if lived >= self.settled:
            self._next = 0.0
        wait = self._next or self.first
        self._next = min(wait * 2, self.cap)
        return wait


class Child:
    """Runs a program in a session of its own, so that a terminal's Ctrl-C does not reach it."""

    def __init__(
        self, program: Program, console: Console, *, backoff: Backoff | None = None
    ) -> None:
        self.program = program
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._console = console
        self._backoff = backoff or Backoff()
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._starting = asyncio.Lock()  # `stop` must not miss a process that is being started
        self._started_at = 0.0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start the process, unless `stop` was called."""
        async with self._starting:
            if not self._stopping.is_set():
                await self._start()

    async def _start(self) -> None:
        reading, writing = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *tethered(self.program.command),
                stdin=asyncio.subprocess.DEVNULL,
                # Not asyncio's own pipe: its wait() may wait for whoever else holds the other end.
                stdout=writing,
                stderr=writing,
                cwd=self.program.folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.program.environment},
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._started_at = time.monotonic()
        self._output = asyncio.create_task(
            self._pass_on(reading), name=f"signalbox-output-{self.program.name}"
        )

    async def ended(self) -> int:
        """Wait until the process has ended and its last lines are out; return its status."""
        if self._process is None or self._output is None:
            raise RuntimeError(f"{self.program.name} was never started")
        status = await self._process.wait()
        # A grandchild may hold the pipe open for ever: the last lines get a deadline.
        await asyncio.wait({self._output}, timeout=OUTPUT_SECONDS)
        self._output.cancel()
        await asyncio.gather(self._output, return_exceptions=True)
        return status

    async def keep_alive(self) -> None:
        """Start the process again whenever it has died, until `stop` is called."""
        while not self._stopping.is_set():
            status = await self.ended()
            if self._stopping.is_set():
                return
            wait = self._backoff.after(time.monotonic() - self._started_at)
            self._console.say(
                f"{self.program.name} ended ({_words(status)}); starting it again in {wait:g} s"
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stopping.wait()
                return
            await self.start()

    async def stop(self) -> None:
        """Ask the process to end, and kill it with its process group when its grace is over."""
        self._stopping.set()
        async with self._starting:
            if self.pid is None:
                return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.program.grace):
                await self.ended()
        except TimeoutError:
            self._console.say(
                f"{self.program.name} did not end within {self.program.grace:g} s: killing it"
            )
            self._kill_group()
            try:
                async with asyncio.timeout(KILL_SECONDS):
                    await self.ended()
            except TimeoutError:  # stuck in the kernel: nothing else can be done about it
                self._console.say(f"{self.program.name} (process {self.pid}) cannot be killed")

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def _kill_group(self) -> None:
        pid = self.pid
        if pid is not None:  # it leads its own session: its group has its id
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    async def _pass_on(self, reading: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", 0)
        )
        lines = Lines()
        try:
            while chunk := await reader.read(64 * 1024):
                self._print(lines.feed(chunk))
            self._print(lines.end())
        finally:
            transport.close()

    def _print(self, lines: list[str]) -> None:
        for line in lines:
            self.tail.append(line)
            self._console.line(self.program.name, line)


class OneShot(Child):
    """Runs a program once, beside the others: its failure is said and ends nothing."""

    async def keep_alive(self) -> None:
        """Wait for its end; it is not started again."""
        status = await self.ended()
        if status and not self._stopping.is_set():
            self._console.say(f"{self.program.name} ended ({_words(status)}); all else goes on")


def _words(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
