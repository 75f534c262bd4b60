"""A worker cleans the pools by itself."""

from __future__ import annotations

import pytest
import redis

from realtime.store import client, keys, sessions, usage
from tasks_app.discovery import load_task_modules
from tasks_app.worker.worker import Worker
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
def jobs() -> None:
    """The periodic jobs, as the command has them."""
    load_task_modules()


async def test_a_worker_removes_what_has_expired(worker: Worker, redis_url: str) -> None:
    await client.arun_all(list(sessions.ping(["dead", "alive"], timeout=1000)))
    await client.arun_all(list(usage.ping({"m": ["dead", "alive"]}, timeout=1000)))
    with redis.Redis.from_url(redis_url, decode_responses=True) as raw:
        sessions_key, users_key = keys.session_pool(), f"{keys.usage_pool()}:m"

        async def is_clean() -> bool:
            # Again and again, since the clean-up may just have run.
            raw.zadd(sessions_key, {"alive": 1e15})
            raw.zadd(users_key, {"alive": 1e15})
            raw.zadd(keys.usage_pool(), {"m": 1e15})
            found = [raw.zrange(key, 0, -1) for key in (sessions_key, users_key)]
            return found == [["alive"], ["alive"]]

        for key in (sessions_key, users_key):
            raw.zadd(key, {"dead": 1})
            raw.persist(key)
        await eventually(is_clean, within=60, every=0.2)
