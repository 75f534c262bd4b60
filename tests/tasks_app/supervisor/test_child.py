"""Children: their output, their restarts and their end, with real processes."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tasks_app.supervisor.child import Backoff, Child, OneShot, Program
from tasks_app.supervisor.console import Console
from tasks_app.supervisor.tether import tethered
from tests.support.eventually import eventually, eventually_sync
from tests.support.processes import Marked, marked

FAST = {"first": 0.01, "cap": 0.04}


@pytest.fixture
def processes() -> Iterator[Marked]:
    with marked() as found:
        yield found


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def program(processes: Marked, script: str, *, grace: float = 5.0) -> Program:
    return Program(
        name="stand-in",
        command=("/bin/sh", "-c", script),
        grace=grace,
        environment=processes.environment,
    )


@asynccontextmanager
async def alive(child: Child) -> AsyncIterator[None]:
    """Keep a child alive while the block runs, and stop it if the block did not."""
    await child.start()
    keeper = asyncio.create_task(child.keep_alive())
    try:
        yield
    finally:
        await child.stop()
        await keeper


def printed(stream: io.StringIO, text: str, times: int = 1) -> bool:
    return stream.getvalue().count(text) >= times


async def until_printed(stream: io.StringIO, text: str, times: int = 1) -> None:
    async def check() -> bool:
        assert printed(stream, text, times), stream.getvalue()
        return True

    await eventually(check, within=10)


async def test_output_of_both_streams_is_passed_on(processes: Marked, stream: io.StringIO) -> None:
    child = Child(program(processes, "echo out; echo err >&2; printf last"), Console(stream))
    await child.start()
    assert await child.ended() == 0
    assert stream.getvalue().splitlines() == [
        f"stand-in | {word}" for word in ("out", "err", "last")
    ]
    assert list(child.tail) == ["out", "err", "last"]


async def test_a_dead_child_is_started_again_and_it_is_said(
    processes: Marked, stream: io.StringIO
) -> None:
    child = Child(
        program(processes, "echo began; exec sleep 60"), Console(stream), backoff=Backoff(**FAST)
    )
    async with alive(child):
        await until_printed(stream, "began")
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until_printed(stream, "began", 2)
        assert child.pid not in {None, first}
    assert "stand-in ended (signal SIGKILL); starting it again in 0.01 s" in stream.getvalue()
    assert child.pid is None
    assert processes.pids() == []


async def test_a_child_that_always_fails_is_started_less_and_less_often(
    processes: Marked, stream: io.StringIO
) -> None:
    child = Child(program(processes, "exit 3"), Console(stream), backoff=Backoff(**FAST))
    async with alive(child):
        await until_printed(stream, "starting it again", 5)
    waits = [line.split()[-2] for line in stream.getvalue().splitlines()][:5]
    assert waits == ["0.01", "0.02", "0.04", "0.04", "0.04"]
    assert "exit status 3" in stream.getvalue()


def test_a_long_life_resets_the_back_off() -> None:
    backoff = Backoff(first=1, cap=4, settled=30)
    assert [backoff.after(lived) for lived in (0, 0, 0, 0, 31, 0)] == [1, 2, 4, 4, 1, 2]


async def test_stop_asks_first(processes: Marked, stream: io.StringIO) -> None:
    script = "trap 'echo asked; exit 0' TERM; echo began; while :; do sleep 0.05; done"
    async with alive(Child(program(processes, script), Console(stream))):
        await until_printed(stream, "began")
    assert "asked" in stream.getvalue()
    assert "killing" not in stream.getvalue()


async def test_who_does_not_listen_is_killed_with_its_own_children(
    processes: Marked, stream: io.StringIO
) -> None:
    script = "trap '' TERM; sleep 60 & echo began; while :; do sleep 60; done"
    async with alive(Child(program(processes, script, grace=0.2), Console(stream))):
        await until_printed(stream, "began")
        assert len(processes.pids()) >= 2
    assert "did not end within 0.2 s: killing it" in stream.getvalue()
    await eventually(lambda: _none_left(processes))


async def _none_left(processes: Marked) -> bool:
    return processes.pids() == []


async def test_a_grandchild_that_keeps_the_output_open_holds_nobody_up(
    processes: Marked, stream: io.StringIO
) -> None:
    child = Child(program(processes, "sleep 60 & exit 0"), Console(stream))
    await child.start()
    async with asyncio.timeout(10):
        assert await child.ended() == 0


async def test_stop_during_the_back_off_ends_it(processes: Marked, stream: io.StringIO) -> None:
    backoff = Backoff(first=60, cap=60)
    async with asyncio.timeout(10):
        async with alive(Child(program(processes, "exit 1"), Console(stream), backoff=backoff)):
            await until_printed(stream, "starting it again in 60 s")


async def test_a_stopped_child_is_not_started(processes: Marked, stream: io.StringIO) -> None:
    child = Child(program(processes, "sleep 60"), Console(stream))
    await child.stop()
    await child.start()
    assert child.pid is None
    assert processes.pids() == []


async def test_a_command_that_does_not_exist_says_so(
    processes: Marked, stream: io.StringIO
) -> None:
    missing = Program(name="gone", command=("/does/not/exist",), grace=1)
    child = Child(missing, Console(stream))
    await child.start()
    assert await child.ended() == 1
    assert "cannot run /does/not/exist: No such file or directory" in stream.getvalue()


async def test_ctrl_c_in_the_terminal_does_not_reach_the_child(
    processes: Marked, stream: io.StringIO
) -> None:
    async with alive(Child(program(processes, "echo began; exec sleep 60"), Console(stream))):
        await until_printed(stream, "began")
        for pid in processes.pids():
            assert os.getsid(pid) != os.getsid(0)
            assert os.getpgid(pid) != os.getpgid(0)


PARENT = """
import subprocess, sys
from tasks_app.supervisor.tether import tethered
subprocess.Popen(tethered(["/bin/sh", "-c", "trap 'echo told; exit' TERM; echo began; "
                           "while :; do sleep 0.05; done"])).wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_child_ends_when_its_parent_is_killed(processes: Marked, tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    parent = processes.run(sys.executable, "-c", PARENT, folder=tmp_path, PYTHONPATH=root)
    parent.says("began")
    parent.process.kill()
    parent.process.wait()
    eventually_sync(lambda: "told" in parent.output, within=10)
    eventually_sync(lambda: processes.pids() == [], within=10)


def test_a_tethered_command_does_not_start_without_its_parent() -> None:
    command = tethered(["/bin/echo", "ran"])
    command[4] = "1"  # somebody else's id, as after the parent's death
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "")


async def test_a_one_shot_runs_once_and_says_that_it_failed(
    processes: Marked, stream: io.StringIO
) -> None:
    child = OneShot(program(processes, "echo tried; exit 3"), Console(stream))
    await child.start()

    await child.keep_alive()

    assert stream.getvalue().count("tried") == 1
    assert "stand-in ended (exit status 3); all else goes on" in stream.getvalue()
    assert processes.pids() == []
