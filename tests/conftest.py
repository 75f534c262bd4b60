"""Fixtures for every test: a real Redis of our own, a key prefix per test, a real worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis

from realtime import bundle
from tasks_app import api
from tasks_app.worker.worker import Worker
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

# No test of ours is about how fast this machine happens to be.
hypothesis.settings.register_profile(
    "signalbox", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("long", hypothesis.settings.get_profile("signalbox"))
hypothesis.settings.load_profile("signalbox")


@contextlib.contextmanager
def started_redis() -> Iterator[RedisServer]:
    """Run a Redis server in a folder of its own while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def frontend() -> str:
    """Return the static path of the editor's bundle, built unless it is there."""
    try:
        return bundle.build()
    except bundle.BuildFailed as failed:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(str(failed))
        pytest.skip(str(failed))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with started_redis() as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """Give a test a Redis of its own, to be killed and restarted."""
    with started_redis() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


def point_at(settings: Any, url: str, prefix: str) -> None:
    """Let this test's Django use that Redis and prefix (CACHES is where Redis is configured)."""
    cache = {**settings.CACHES["default"], "LOCATION": url, "KEY_PREFIX": prefix}
    settings.CACHES = {**settings.CACHES, "default": cache}
    settings.REDIS_KEY_PREFIX = prefix


@pytest.fixture(autouse=True)
def redis_prefix(settings: Any, redis_url: str) -> Iterator[str]:
    """Separate every test from all others by its own key prefix."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    point_at(settings, redis_url, prefix)
    yield prefix
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        if keys := client.keys(f"{prefix}:*"):
            client.delete(*keys)


@pytest.fixture
async def engine() -> AsyncIterator[None]:
    """Close what the engine opened on this test's loop."""
    yield
    await api.shutdown()


@pytest.fixture
async def worker(engine: None) -> AsyncIterator[Worker]:
    """Run a real worker on this test's loop, and wait until it is known to be alive."""
    async with running(Worker(name="test", grace=0.2)) as started:
        await eventually(api.workers_alive, within=10)
        yield started


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    """Run a worker while the block runs, and shut it down as SIGTERM would."""
    stopping = asyncio.Event()
    task = asyncio.create_task(worker.run(stopping))
    try:
        yield worker
    finally:
        stopping.set()
        await task
