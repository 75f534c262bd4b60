"""streaQ. `concurrency` 100, uvloop as its documentation recommends, `silent`: no log of each task.

Results are kept an hour (its default is 5 minutes). It looks for stopped tasks twice a second,
which no setting changes. `enqueue_many` is its own bulk call.
"""

from __future__ import annotations

from typing import Any

from streaq import Worker

from tests.benchmarks.peers import bodies
from tests.benchmarks.peers.protocol import CONCURRENCY, REDIS_URL, Contestant, run

BATCH = 500
KEPT_SECONDS = 3600

worker = Worker(
    redis_url=REDIS_URL, concurrency=CONCURRENCY, anyio_kwargs={"use_uvloop": True}
)  # fmt: skip


@worker.task(silent=True, ttl=KEPT_SECONDS)
async def noop() -> None:
    await bodies.noop()


@worker.task(silent=True, ttl=KEPT_SECONDS, timeout=None)
async def hang(path: str) -> None:
    await bodies.hang(path)


class Streaq(Contestant):
    """streaQ's tasks: a stream, a key per task and per result."""

    worker = ["-m", "streaq", "run", "tests.benchmarks.peers.streaq:worker"]
    count = ["ZCARD", "streaq:default:index:results"]

    async def open(self) -> None:
        await worker.__aenter__()

    async def close(self) -> None:
        await worker.__aexit__(None, None, None)

    async def enqueue_many(self, count: int) -> None:
        for done in range(0, count, BATCH):
            await worker.enqueue_many([noop.enqueue() for _ in range(min(BATCH, count - done))])

    async def enqueue(self) -> Any:
        return await noop.enqueue()

    async def wait(self, handle: Any) -> None:
        await handle.result(20)

    def looks(self, handle: Any) -> list[str]:
        return ["EXISTS", f"streaq:default:task:results:{handle.id}"]

    async def hang(self, path: str) -> Any:
        return await hang.enqueue(path)

    async def stop(self, handle: Any) -> None:
        await handle.abort(20)


if __name__ == "__main__":
    run(Streaq())
