"""Real processes in tests: found by a mark in their environment or by their folder, not by name."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.support.eventually import eventually_sync

MARK = "SIGNALBOX_TEST_MARK"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A started command, its output kept in a file."""

    def __init__(self, command: list[str], *, folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / f"output-{uuid.uuid4().hex[:8]}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def says(self, text: str, *, within: float = 30.0, times: int = 1) -> str:
        """Wait until it has printed `text` that often, and return all of its output."""

        def said() -> str:
            ended = self.process.poll() is not None
            output = self.output
            missing = f"no {text!r} at the end of its output:\n{output[-4000:]}"
            if ended and output.count(text) < times:
                raise RuntimeError(f"ended with status {self.process.returncode}: {missing}")
            assert output.count(text) >= times, missing
            return output

        return eventually_sync(said, within=within)

    def interrupt(self) -> None:
        """Send what Ctrl-C sends: SIGINT to the whole foreground process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ends(self, *, within: float = 30.0) -> int:
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running; it printed:\n{self.output}") from None


class Marked:
    """All processes that were started with one mark, and their children's children."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self._started: list[Running] = []
        self._folders: set[Path] = set()

    @property
    def environment(self) -> dict[str, str]:
        return {MARK: self.mark}

    def run(self, *command: str | Path, folder: Path, **environment: str) -> Running:
        """Start a command with the mark, on top of this process's environment; "" unsets."""
        variables = {**os.environ, **self.environment, **environment}
        running = Running(
            list(map(str, command)),
            folder=folder,
            environment={name: value for name, value in variables.items() if value},
        )
        self._started.append(running)
        self._folders.add(folder.resolve())
        return running

    def pids(self, *words: str) -> list[int]:
        """Return the processes that live and have all these words in their command line."""
        entry = f"{MARK}={self.mark}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (folder / "environ").read_bytes().split(b"\0")
                # redis-server writes its title over its environment: it is known by its folder.
                if entry not in environment and not self._works_here(folder):
                    continue
                command = (folder / "cmdline").read_bytes().decode().split("\0")
                if all(any(word in part for part in command) for word in words):
                    found.append(int(folder.name))
        return found

    def _works_here(self, process: Path) -> bool:
        where = (process / "cwd").readlink()
        return any(folder == where or folder in where.parents for folder in self._folders)

    def one(self, *words: str, within: float = 10.0) -> int:
        """Wait for exactly one such process."""

        def found() -> int:
            pids = self.pids(*words)
            assert len(pids) == 1, (words, pids)
            return pids[0]

        return eventually_sync(found, within=within)

    def kill(self) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for running in self._started:
            running.process.wait(10)


@contextlib.contextmanager
def marked() -> Iterator[Marked]:
    """Give a mark, and leave no process that carries it."""
    processes = Marked()
    try:
        yield processes
    finally:
        processes.kill()
