"""The workers clean the pools by themselves."""

from __future__ import annotations

import pytest
import redis

from realtime.store import client, keys, sessions, usage
from tasks_app.discovery import load_task_modules
from tasks_app.periodic_jobs import registered_jobs
from tests.support.eventually import eventually
from tests.tasks_app.worker.test_periodic import serving


@pytest.mark.usefixtures("engine")
async def test_the_periodic_jobs_remove_what_has_expired(redis_url: str) -> None:
    await client.arun_all(list(sessions.ping(["dead", "alive"], timeout=1000)))
    await client.arun_all(list(usage.ping({"m": ["dead", "alive"]}, timeout=1000)))
    pool, users = keys.session_pool(), f"{keys.usage_pool()}:m"
    load_task_modules()
    jobs = [job for job in registered_jobs() if job.name.startswith("realtime.tasks.clean_")]
    assert len(jobs) == 2
    with redis.Redis.from_url(redis_url, decode_responses=True) as raw:
        for key in (pool, users):
            raw.zadd(key, {"dead": 1, "alive": 1e15})
        raw.zadd(keys.usage_pool(), {"m": 1e15})

        async def is_clean() -> bool:
            return [raw.zrange(key, 0, -1) for key in (pool, users)] == [["alive"], ["alive"]]

        async with serving(*jobs):
            await eventually(is_clean, within=20)
