"""Pytest fixtures: a Redis of the tests' own and a real worker (`pytest_plugins` in conftest.py).

They need pytest-django.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from tasks_app import api
from tasks_app.compat import TaskResult
from tasks_app.supervisor.redis_server import RedisServer, State
from tasks_app.worker.worker import Worker

START_SECONDS = 20.0
LEAVE_SECONDS = 20.0
POLL_SECONDS = 0.02
GRACE_SECONDS = 0.5


@pytest.fixture(scope="session")
def signalbox_redis() -> Iterator[str]:
    """Run a Redis server for this test session, in a folder of its own; its address."""
    with tempfile.TemporaryDirectory(prefix="signalbox-") as folder:
        server = RedisServer(data=Path(folder, "data"), socket=Path(folder, "redis.sock"))
        process = subprocess.Popen(  # noqa: S603 - the server that `up` would start
            server.program().command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _until_ready(server)
            yield f"unix://{server.socket}"
        finally:
            process.terminate()
            process.wait(LEAVE_SECONDS)


def _until_ready(server: RedisServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while asyncio.run(server.state()) is not State.READY:
        if time.monotonic() > deadline:
            pytest.fail(f"Redis did not answer within {START_SECONDS:g} s.")
        time.sleep(POLL_SECONDS)


@pytest.fixture
def signalbox_engine(signalbox_redis: str, settings: Any) -> str:
    """Give this test an engine of its own, empty: tasks wait until something runs them."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    cache = {**settings.CACHES["default"], "LOCATION": signalbox_redis, "KEY_PREFIX": prefix}
    settings.CACHES = {**settings.CACHES, "default": cache}
    settings.REDIS_KEY_PREFIX = prefix
    return prefix


class LiveWorker:
    """A real worker on an event loop and a thread of its own; the test goes on meanwhile."""

    def __init__(self) -> None:
        self.instance = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signalbox-worker", daemon=True)
        self._failure: BaseException | None = None

    def finish(self, result: TaskResult[Any], timeout: float = 10.0) -> TaskResult[Any]:
        """Wait until the task has ended, refresh its result and return it.

        Raises TimeoutError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        result.refresh()
        while not result.is_finished:
            self._check(deadline)
            time.sleep(POLL_SECONDS)
            result.refresh()
        return result

    async def afinish(self, result: TaskResult[Any], timeout: float = 10.0) -> TaskResult[Any]:  # noqa: ASYNC109
        """Do as `finish`, from asynchronous code."""
        deadline = time.monotonic() + timeout
        await result.arefresh()
        while not result.is_finished:
            self._check(deadline)
            await asyncio.sleep(POLL_SECONDS)
            await result.arefresh()
        return result

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(START_SECONDS)
        self._check(time.monotonic() + 1)

    def stop(self) -> None:
        """Stop as SIGTERM would; what still runs is handed back to its queue."""
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended already
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(LEAVE_SECONDS)
        if self._thread.is_alive():
            pytest.fail(f"The worker did not leave within {LEAVE_SECONDS:g} s.")
        if self._failure is not None:
            raise self._failure

    def _check(self, deadline: float) -> None:
        if self._failure is not None:
            raise self._failure
        if time.monotonic() > deadline:
            raise TimeoutError("The task has not ended in time.")

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self._failure = error
        finally:
            self._ready.set()

    async def _work(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        worker = Worker(name="test", grace=GRACE_SECONDS, queues=_queues())
        self.instance = worker.instance
        self._ready.set()
        try:
            await worker.run(self._stopping)
        finally:
            await api.shutdown()


def _queues() -> list[str]:
    """Return the queues that TASKS names, of all its backends, and the default one."""
    named = [
        queue for params in django_settings.TASKS.values() for queue in params.get("QUEUES", ())
    ]
    return list(dict.fromkeys(["default", *named]))


@pytest.fixture
def signalbox_worker(
    signalbox_engine: str,  # noqa: ARG001 - asked for its effect
    transactional_db: None,  # noqa: ARG001
) -> Iterator[LiveWorker]:
    """Run a real worker while the test runs, on an engine and a Redis of the tests' own.

    Its tasks see the database as other connections do: the test is not wrapped in a transaction
    (pytest-django's `transactional_db`).
    """
    worker = LiveWorker()
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
