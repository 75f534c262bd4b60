"""taskiq with its Redis stream broker and Redis results, kept an hour. It cannot stop a task.

One worker process, 100 tasks at a time, uvloop (its `uv` extra, used by itself when installed),
hiredis, warnings only in the log. Arguments are not parsed by pydantic (`--no-parse`): faster.
"""

from __future__ import annotations

import asyncio
from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from tests.benchmarks.peers import bodies
from tests.benchmarks.peers.protocol import CONCURRENCY, REDIS_URL, Contestant, run

TOGETHER = 50
KEPT_SECONDS = 3600

# consumer_id 0: what was enqueued before the first worker came is executed too.
broker = RedisStreamBroker(REDIS_URL, consumer_id="0").with_result_backend(
    RedisAsyncResultBackend(REDIS_URL, result_ex_time=KEPT_SECONDS)
)


@broker.task(task_name="noop")
async def noop() -> None:
    await bodies.noop()


class Taskiq(Contestant):
    """taskiq's tasks: a stream, a key per result."""

    worker = [
        "-m", "taskiq", "worker", "tests.benchmarks.peers.taskiq:broker", "--workers", "1",
        "--max-async-tasks", str(CONCURRENCY), "--log-level", "WARNING", "--no-parse",
    ]  # fmt: skip
    count = ["DBSIZE"]
    besides = 1  # the stream
    can_stop = False

    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def enqueue_many(self, count: int) -> None:
        for done in range(0, count, TOGETHER):
            together = min(TOGETHER, count - done)
            await asyncio.gather(*(noop.kiq() for _ in range(together)))

    async def enqueue(self) -> Any:
        return await noop.kiq()

    async def wait(self, handle: Any) -> None:
        # Its own default looks every 0.2 s; its documentation shows the option.
        await handle.wait_result(check_interval=0.001, timeout=20)

    def looks(self, handle: Any) -> list[str]:
        return ["EXISTS", handle.task_id]


if __name__ == "__main__":
    run(Taskiq())
