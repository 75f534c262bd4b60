"""Two web processes and a worker: a changed configuration and a new model reach all of them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.support.eventually import eventually_sync
from tests.support.stack import Stack

CONFIG = "/api/v1/tasks/config"
KEY = "sk-only-for-the-provider"


@pytest.fixture
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    started = Stack(folder, webs=2, workers=1, provider=["--only", "fake-echo"])
    started.environment["OPENAI_API_KEY"] = KEY
    try:
        started.start()
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder)


def test_a_change_at_one_instance_is_in_force_at_the_other(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.token()}"}
    one, other = (httpx.Client(base_url=url, headers=headers, timeout=30) for url in stack.urls)
    with one, other:
        assert other.get(CONFIG).json()["TASK_MODEL"] == ""
        for value in ("first", "second"):
            assert one.post(f"{CONFIG}/update", json={"TASK_MODEL": value}).status_code == 200
            assert one.get(CONFIG).json()["TASK_MODEL"] == value
            eventually_sync(lambda v=value: other.get(CONFIG).json()["TASK_MODEL"] == v)

        # The worker has told them: with the provider gone, both still know the model.
        eventually_sync(lambda: "fake-echo" in shared_models(stack), within=20)
        stack.end("provider")
        for client in (one, other):
            listed = client.get("/api/v1/models").json()["data"]
            assert [model["id"] for model in listed] == ["fake-echo"]
        assert KEY not in str(shared_models(stack))
        assert KEY not in stack.logs()


def shared_models(stack: Stack) -> dict[Any, Any]:
    with contextlib.closing(redis.Redis.from_url(stack.redis.url, decode_responses=True)) as client:
        found: dict[Any, Any] = client.hgetall("stack:models")
        return found
