"""Measures how long a stop takes from the call in one process to the `finally` in another.

One Redis, two workers, and this process, which is warm: it stops by the Python API. The second
line is the same with every listening connection cut just before the stop: the message is lost, and
the worker finds the request in the record. Both processes read one clock (`time.monotonic` is the
machine's). `python -m tests.benchmarks.stop_finally --runs 200`
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import django

from tests.support.eventually import eventually
from tests.support.stack import Stack

WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    folder = Path(tempfile.mkdtemp(prefix="signalbox-bench-"))
    stack = Stack(folder, webs=0, workers=WORKERS)
    os.environ.update(stack.environment)
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    django.setup()
    logging.disable(logging.WARNING)  # of the cut connections
    try:
        stack.redis.folder.mkdir()
        stack.redis.start()
        for number in range(1, WORKERS + 1):
            stack.start_worker(number)
        print(
            f"{runs} runs each; milliseconds from the call of stop_task to the coroutine's finally"
        )
        print(f"{'connections':16}{'p50':>9}{'p99':>9}{'worst':>9}")
        for name, is_cut in (("whole", False), ("listeners cut", True)):
            show(name, asyncio.run(measured(folder, runs, is_cut=is_cut)))
    finally:
        stack.stop()
        shutil.rmtree(folder)


def show(name: str, seconds: list[float]) -> None:
    values = sorted(value * 1000 for value in seconds)
    p99 = values[min(len(values) - 1, int(len(values) * 0.99))]
    print(f"{name:16}{statistics.median(values):9.1f}{p99:9.1f}{values[-1]:9.1f}", flush=True)


async def measured(folder: Path, runs: int, *, is_cut: bool) -> list[float]:
    from tasks_app import api  # noqa: PLC0415 needs Django to be set up

    try:
        await one_run(folder, is_cut=is_cut)  # warms this process and the worker
        return [await one_run(folder, is_cut=is_cut) for _ in range(runs)]
    finally:
        await api.shutdown()


async def one_run(folder: Path, *, is_cut: bool) -> float:
    # These need Django to be set up.
    from tasks_app import api  # noqa: PLC0415
    from tasks_app.store import client  # noqa: PLC0415
    from tests.bench_tasks import wait_and_tell  # noqa: PLC0415

    task = await api.enqueue_task(wait_and_tell, args=(str(folder),))
    await eventually(lambda: exists(folder / f"{task.id}.started"), within=30, every=0.005)
    if is_cut:
        await client.client().client_kill_filter(_type="pubsub")
    began = time.monotonic()
    await api.stop_task(task.id, by="benchmark")
    ended = folder / f"{task.id}.ended"
    await eventually(lambda: exists(ended), within=30, every=0.005)
    assert (await api.wait_task(task.id, 10)).status is api.TaskState.CANCELED
    return float(ended.read_text()) - began


async def exists(path: Path) -> bool:
    return path.exists()  # noqa: ASYNC240 it waits for nothing else


if __name__ == "__main__":
    main()
