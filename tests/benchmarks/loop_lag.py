"""Measures how late a worker's event loop comes to its work while 1,000 tasks stream tokens.

One Redis, one worker process with 1,000 slots, and beside it an idle process that measures the
same thing: what it sees is this machine's noise. A busy process also waits for a processor on a
busy machine, which an idle one hardly does: `starved` says for how much of its time. The worker's
figures are those that it exports with its heartbeat, as `manage.py tasks stats` shows them.
`python -m tests.benchmarks.loop_lag`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import django

from tests.support.stack import Stack

WAIT_SECONDS = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rate", type=float, nargs="+", default=[1.0, 5.0, 20.0], help="tokens/s")
    parser.add_argument("--seconds", type=float, default=70.0, help="for each rate")
    parser.add_argument("--idle", action="store_true", help="only measure, for so many seconds")
    options = parser.parse_args()
    if options.idle:
        print(json.dumps(asdict(asyncio.run(idle(options.seconds)))))
        return
    folder = Path(tempfile.mkdtemp(prefix="signalbox-bench-"))
    stack = Stack(folder)
    os.environ |= stack.environment | {"DJANGO_SETTINGS_MODULE": "project.settings"}
    print(f"{options.tasks} tasks at once for {options.seconds:g} s; lag in milliseconds")
    lag = f"{'p50':>7} {'p99':>7} {'worst':>7}"
    print(f"{'tokens/s each':>13} {lag} |  noise {lag} | {'tokens/s':>8} {'wanted':>8}"
          f" {'CPU':>5} {'starved':>7}")  # fmt: skip
    try:
        stack.redis.folder.mkdir()
        stack.redis.start()
        for number, rate in enumerate(options.rate):
            measure(stack, number, rate, options)
    finally:
        stack.stop()
        shutil.rmtree(folder)


def measure(stack: Stack, number: int, rate: float, options: argparse.Namespace) -> None:
    """Measure one rate with a new worker, and print its row."""
    tasks, seconds = options.tasks, options.seconds
    worker, idle = f"worker-{number}", f"idle-{number}"
    stack.run(worker, "manage.py", "taskworker", "--concurrency", str(tasks), "--grace", "0")
    words = ("-m", "tests.benchmarks.loop_lag", "--idle", "--seconds", str(seconds))
    stack.run(idle, *words)
    pid = stack.processes[worker].pid
    lag, tokens, cpu, starved = asyncio.run(one_run(tasks, rate, seconds, pid))
    stack.processes[idle].wait(WAIT_SECONDS)
    noise = json.loads(stack.log_of(idle))
    stack.end(worker)
    print(f"{rate:13g} {lag.p50_ms:7.1f} {lag.p99_ms:7.1f} {lag.worst_ms:7.1f} |"
          f" {noise['p50_ms']:13.1f} {noise['p99_ms']:7.1f} {noise['worst_ms']:7.1f} |"
          f" {tokens:8.0f} {tasks * rate:8.0f} {cpu:5.0%} {starved:7.0%}", flush=True)  # fmt: skip


async def one_run(
    tasks: int, rate: float, seconds: float, pid: int
) -> tuple[Any, float, float, float]:
    """Return the worker's lag while all tasks stream, their tokens a second, and its shares.

    Those of its time in which it had a processor, and in which it waited for one.
    """
    async with engine() as (api, sample_tasks):
        await until(lambda stats: stats.workers and stats.workers[0].lag)
        await sample_tasks.stream_tokens.aenqueue_many([((seconds, rate), {})] * tasks)
        await until(lambda stats: stats.workers[0].running == tasks)
        await asyncio.sleep(2)  # the start itself, thousands of claims, is not what is measured
        used, began = processor_seconds(pid), time.monotonic()
        lag, shares = None, (0.0, 0.0)
        while (stats := await api.read_stats()).running == tasks:
            lag = stats.workers[0].lag  # of the last minute
            now, passed = processor_seconds(pid), time.monotonic() - began
            shares = ((now[0] - used[0]) / passed, (now[1] - used[1]) / passed)
            await asyncio.sleep(1)
        await until(lambda stats: stats.running == 0)
        page = await api.list_tasks(limit=tasks)
        results = [one.result for one in await api.with_results(page.tasks)]
        assert lag is not None
        return lag, sum(results) / seconds, *shares


@asynccontextmanager
async def engine() -> AsyncIterator[Any]:
    """Give the engine's API and the tasks; they can be imported once Django is set up."""
    django.setup()
    from tasks_app import api  # noqa: PLC0415 importing it needs Django's apps
    from tests import sample_tasks  # noqa: PLC0415 the same

    try:
        yield api, sample_tasks
    finally:
        await api.shutdown()


async def until(check: Any) -> None:
    """Wait until the counts are as wanted."""
    from tasks_app import api  # noqa: PLC0415 importing it needs Django's apps

    async with asyncio.timeout(WAIT_SECONDS):
        while not check(await api.read_stats()):  # noqa: ASYNC110 of another process
            await asyncio.sleep(0.2)


def processor_seconds(pid: int) -> tuple[float, float]:
    """Return how long the process's main thread has had a processor, and waited for one."""
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


async def idle(seconds: float) -> Any:
    """Measure this process's own loop, which does nothing."""
    from tasks_app.worker.lag import LagMeter  # noqa: PLC0415 only here

    meter = LagMeter()
    try:
        async with asyncio.timeout(seconds):
            await meter.run()
    except TimeoutError:
        pass
    return meter.read()


if __name__ == "__main__":
    main()
