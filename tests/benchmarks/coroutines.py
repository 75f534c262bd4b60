"""Measures what create_task and the end of a no-op coroutine cost; refuses to lose any.

A Redis of its own, one process. First one creator after another, then 50 at once, 200 each.
CPU is this process's alone, Redis' is printed beside it. `python -m tests.benchmarks.coroutines`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import django

from tasks_app import create_task, list_tasks
from tasks_app.local import service
from tasks_app.store import client, subscriptions
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer


async def nothing() -> None:
    return


async def creator(count: int, times: list[float], item_id: str) -> None:
    for _ in range(count):
        began = time.perf_counter()
        _, task = await create_task(nothing(), item_id=item_id)
        times.append(time.perf_counter() - began)
        await task


async def all_settled() -> bool:
    return not await list_tasks()


async def measure(creators: int, count: int) -> None:
    times: list[float] = []
    redis_before = await client.client().info()
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(creator(count, times, f"item-{n}") for n in range(creators)))
    await eventually(all_settled, within=30, every=0.002)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    redis_after = await client.client().info()
    total = creators * count
    spent = {
        name: redis_after[name] - redis_before[name]
        for name in ("used_cpu_user", "used_cpu_sys", "total_commands_processed")
    }
    redis_cpu = spent["used_cpu_user"] + spent["used_cpu_sys"]
    median, worst = statistics.median(times) * 1e3, statistics.quantiles(times, n=100)[-1] * 1e3
    print(
        f"{creators:3} x {count:5}: {cpu / total * 1e6:6.0f} us CPU each here, "
        f"{redis_cpu / total * 1e6:4.0f} in Redis; create_task p50 "
        f"{median:.2f} ms, p99 {worst:.2f} ms; "
        f"{total / wall:6.0f} a second; {len(times)} of {total} created, 0 left"
    )


async def run(count: int) -> None:
    await measure(1, 50)  # warm: connections, scripts
    await measure(1, count)
    await measure(50, 200)
    await service.aclose()
    await subscriptions.aclose()
    await client.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    folder = Path(tempfile.mkdtemp(prefix="signalbox-bench-"))
    server = RedisServer(folder)
    server.start()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "project.settings", "DEBUG": "1", "SECRET_KEY": "benchmark",
        "REDIS_URL": server.url,
    }  # fmt: skip
    try:
        django.setup()
        asyncio.run(run(parser.parse_args().count))
    finally:
        server.kill()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
