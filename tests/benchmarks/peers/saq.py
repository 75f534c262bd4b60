"""SAQ. `concurrency` 100, hiredis as its documentation recommends for speed, results kept an hour.

It looks for stopped jobs every `timers["abort"]` seconds, 1 by default; BENCH_POLL_SECONDS gives
the variant with 10 ms. Its command logs warnings only, so nothing is logged for each job.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

from saq import Job, Queue

from tests.benchmarks.peers import bodies
from tests.benchmarks.peers.protocol import CONCURRENCY, REDIS_URL, Contestant, run

TOGETHER = 50
KEPT_SECONDS = 3600
POLL_SECONDS = float(os.environ.get("BENCH_POLL_SECONDS", "1"))


async def noop(context: dict[Any, Any]) -> None:
    await bodies.noop()


async def hang(context: dict[Any, Any], *, path: str) -> None:
    await bodies.hang(path)


queue = Queue.from_url(REDIS_URL)
settings = {
    "queue": queue,
    "functions": [noop, hang],
    "concurrency": CONCURRENCY,
    "timers": {"abort": POLL_SECONDS},
}


class Saq(Contestant):
    """SAQ's jobs: lists of ids, a key per job."""

    worker = ["-m", "saq", "tests.benchmarks.peers.saq.settings"]
    count = ["ZCARD", "saq:default:incomplete"]
    counts_left = True

    async def open(self) -> None:
        await queue.connect()

    async def close(self) -> None:
        await queue.disconnect()

    async def enqueue_many(self, count: int) -> None:
        for done in range(0, count, TOGETHER):
            together = min(TOGETHER, count - done)
            await asyncio.gather(*(self.enqueue() for _ in range(together)))

    async def enqueue(self) -> Job | None:
        return await queue.enqueue("noop", ttl=KEPT_SECONDS)

    async def wait(self, handle: Any) -> None:
        # `refresh` reads the job, then subscribes: an end that comes between is not heard of, and
        # it raises when its time is over. (`apply` does not subscribe; it looks every 0.5 s.)
        while not handle.completed:
            with contextlib.suppress(TimeoutError):
                await handle.refresh(1.0)

    def looks(self, handle: Any) -> list[str]:
        return ["ZSCORE", "saq:default:incomplete", handle.id]

    def sees(self, answer: Any) -> bool:
        return answer is None

    async def hang(self, path: str) -> Job | None:
        return await queue.enqueue("hang", path=path, timeout=0, ttl=KEPT_SECONDS)

    async def stop(self, handle: Any) -> None:
        await handle.abort("stopped by the benchmark")


if __name__ == "__main__":
    run(Saq())
