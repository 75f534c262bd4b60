"""The ceiling: the least that a worker on redis-py can do for tasks whose results are kept.

It reads 100 at a time from a stream, awaits each function, and writes all results and
acknowledgements in one pipeline. No leases, no retries, no events, no stop, no time-out.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from typing import Any

import redis.asyncio as redis
from redis.exceptions import ResponseError

from tests.benchmarks.peers import bodies
from tests.benchmarks.peers.protocol import CONCURRENCY, REDIS_URL, Contestant, run

STREAM, GROUP = "queue", "workers"
KEPT_SECONDS = 3600
BATCH = 1000
FUNCTIONS = {"noop": bodies.noop}


class Ceiling(Contestant):
    """A stream, and a hash for each result."""

    worker = ["-m", "tests.benchmarks.peers.ceiling", "worker"]
    count = ["DBSIZE"]
    besides = 1  # the stream
    can_wait = False
    can_stop = False

    async def open(self) -> None:
        self.redis = redis.Redis.from_url(REDIS_URL)

    async def close(self) -> None:
        await self.redis.aclose()

    async def enqueue_many(self, count: int) -> None:
        for done in range(0, count, BATCH):
            pipe = self.redis.pipeline(transaction=False)
            for _ in range(min(BATCH, count - done)):
                pipe.xadd(STREAM, message(uuid.uuid4().hex))
            await pipe.execute()

    async def enqueue(self) -> str:
        task_id = uuid.uuid4().hex
        await self.redis.xadd(STREAM, message(task_id))
        return task_id

    def looks(self, handle: Any) -> list[str]:
        return ["EXISTS", f"result:{handle}"]


def message(task_id: str) -> dict[Any, Any]:
    return {"id": task_id, "name": "noop", "payload": '{"args":[],"kwargs":{}}'}


async def work() -> None:
    client = redis.Redis.from_url(REDIS_URL)
    try:
        await client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    while True:
        answer = await client.xreadgroup(GROUP, "one", {STREAM: ">"}, count=CONCURRENCY, block=1000)
        if not answer:
            continue
        pipe = client.pipeline(transaction=False)
        read = []
        for message_id, fields in answer[0][1]:
            payload = json.loads(fields[b"payload"])
            function = FUNCTIONS[fields[b"name"].decode()]
            result = await function(*payload["args"], **payload["kwargs"])
            key = b"result:" + fields[b"id"]
            pipe.hset(key, mapping={"status": "succeeded", "result": json.dumps(result)})
            pipe.expire(key, KEPT_SECONDS)
            read.append(message_id)
        pipe.xack(STREAM, GROUP, *read)
        pipe.xdel(STREAM, *read)
        await pipe.execute()


if __name__ == "__main__":
    if "worker" in sys.argv:
        asyncio.run(work())
    else:
        run(Ceiling())
