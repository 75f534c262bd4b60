"""arq. `max_jobs` 100 is the concurrency; nothing is logged for each job (its own default logs).

`poll_delay` is 0.5 s by default, which its documentation leaves alone; BENCH_POLL_SECONDS gives
the variant with 10 ms. redis-py uses hiredis, which arq itself requires.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from arq.connections import RedisSettings, create_pool
from arq.jobs import Job

from tests.benchmarks.peers import bodies
from tests.benchmarks.peers.protocol import CONCURRENCY, REDIS_URL, Contestant, run

TOGETHER = 50
POLL_SECONDS = float(os.environ.get("BENCH_POLL_SECONDS", "0.5"))
QUIET = {"version": 1, "disable_existing_loggers": False}


async def noop(context: dict[Any, Any]) -> None:
    await bodies.noop()


async def hang(context: dict[Any, Any], path: str) -> None:
    await bodies.hang(path)


class WorkerSettings:
    """Read by `arq`."""

    functions = [noop, hang]
    redis_settings = RedisSettings.from_dsn(REDIS_URL)
    max_jobs = CONCURRENCY
    poll_delay = POLL_SECONDS
    keep_result = 3600
    log_results = False
    allow_abort_jobs = True


class Arq(Contestant):
    """arq's jobs: a sorted set of ids, a key per job and per result."""

    worker = [
        "-m", "arq", "tests.benchmarks.peers.arq.WorkerSettings",
        "--custom-log-dict", "tests.benchmarks.peers.arq.QUIET",
    ]  # fmt: skip
    count = ["ZCARD", "arq:queue"]
    counts_left = True

    async def open(self) -> None:
        self.pool = await create_pool(WorkerSettings.redis_settings)

    async def close(self) -> None:
        await self.pool.aclose()

    async def enqueue_many(self, count: int) -> None:
        for done in range(0, count, TOGETHER):
            together = min(TOGETHER, count - done)
            await asyncio.gather(*(self.pool.enqueue_job("noop") for _ in range(together)))

    async def enqueue(self) -> Job | None:
        return await self.pool.enqueue_job("noop")

    async def wait(self, handle: Any) -> None:
        await handle.result(timeout=20, poll_delay=min(POLL_SECONDS, 0.5))

    def looks(self, handle: Any) -> list[str]:
        return ["EXISTS", f"arq:result:{handle.job_id}"]

    async def hang(self, path: str) -> Job | None:
        return await self.pool.enqueue_job("hang", path)

    async def stop(self, handle: Any) -> None:
        await handle.abort(timeout=20, poll_delay=min(POLL_SECONDS, 0.5))


if __name__ == "__main__":
    run(Arq())
