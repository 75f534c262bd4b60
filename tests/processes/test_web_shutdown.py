"""A web process that is told to end tells its clients, and says why their tasks were stopped."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.eventually import eventually_sync
from tests.support.stack import Stack

MODEL = "fake-4000-tokens-20-ms"


@pytest.fixture
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    started = Stack(folder, webs=2, workers=1, provider=["--model", MODEL])
    try:
        started.start()
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder)


def test_waiting_clients_are_told_and_their_tasks_say_shutdown(stack: Stack) -> None:
    token = stack.token()
    one, other = (
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        for url in stack.urls
    )

    body = {"model": MODEL, "messages": [{"role": "user", "content": "go"}]}
    begun = threading.Event()

    def chat(**headers: str) -> httpx.Response:
        return one.post("/api/v1/chat/completions", json=body, headers=headers)

    def streamed_chat() -> tuple[httpx.Response, str]:
        text = ""
        streaming = {**body, "stream": True}
        with one.stream("POST", "/api/v1/chat/completions", json=streaming) as response:
            for piece in response.iter_text():
                begun.set()
                text += piece
        return response, text

    def unfinished() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = other.get("/api/v1/tasks?status=running").json()["tasks"]
        return found

    with one, other, ThreadPoolExecutor() as threads:
        outliving = chat(Prefer="respond-async").json()["id"]
        following = threads.submit(one.get, f"/api/v1/tasks/{outliving}/events")
        asking, streaming = threads.submit(chat), threads.submit(streamed_chat)
        eventually_sync(lambda: len(unfinished()) == 3)
        assert begun.wait(10)
        stack.end("web-1")
        plain, (streamed, text) = asking.result(), streaming.result()

        last = text.strip().rpartition("data: ")[2]
        assert json.loads(last)["error"]["type"] == "shutdown"
        assert plain.status_code == 503
        assert int(plain.headers["retry-after"]) > 0
        assert "restarting" in plain.json()["detail"]
        assert following.result().text.endswith("again in a moment.\n\n")
        for answer in (streamed, plain):
            path = f"/api/v1/tasks/{answer.headers['x-task-id']}?wait=5"
            task = other.get(path).json()
            assert task["status"] == "canceled"
            assert (task["stopped_by"], task["reason"]) == ("system", "shutdown")
        assert [task["id"] for task in unfinished()] == [outliving]
