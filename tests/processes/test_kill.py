"""Real processes die with kill -9, and what the failure table promises holds."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.stack import Stack

LEASE_SECONDS = 3
MODEL = "fake-200-tokens-20-ms"


@pytest.fixture
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    started = Stack(folder, webs=2, workers=2, provider=["--model", MODEL])
    started.environment["TASK_LEASE_SECONDS"] = str(LEASE_SECONDS)
    try:
        started.start()
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder)


def start_chat(stack: Stack, token: str, model: str, **body: Any) -> dict[str, Any]:
    answer = httpx.post(
        f"{stack.urls[0]}/api/v1/chat/completions",
        headers={"Authorization": f"Bearer {token}", "Prefer": "respond-async"},
        json={"model": model, "messages": [{"role": "user", "content": "go"}], **body},
        timeout=10,
    )
    assert answer.status_code == 202, answer.text
    task: dict[str, Any] = answer.json()
    return task


def show(stack: Stack, token: str, task_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = httpx.get(
        f"{stack.urls[0]}/api/v1/tasks/{task_id}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    ).json()
    return shown


def events(stack: Stack, token: str, task_id: str, web: int = 1) -> Iterator[tuple[str, Any]]:
    """Read a task's server-sent events through one web process."""
    with httpx.stream(
        "GET",
        f"{stack.urls[web]}/api/v1/tasks/{task_id}/events",
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    ) as answer:
        kind = ""
        for line in answer.iter_lines():
            if line.startswith("event:"):
                kind = line[6:].strip()
            elif line.startswith("data:"):
                yield kind, json.loads(line[5:])


def test_a_killed_workers_task_is_finished_by_another_and_ends_once(stack: Stack) -> None:
    token = stack.token()
    task = start_chat(stack, token, MODEL)
    seen: list[str] = []
    text = ""
    killed = ""
    for kind, data in events(stack, token, task["id"]):
        seen.append(kind)
        if kind == "restart":
            text = ""
        if kind == "token":
            text += data["text"]
            if not killed:
                # Not by a command: on a busy machine it takes longer than the task.
                killed = stack.worker_of(show(stack, token, task["id"])["instance"])
                stack.kill(killed)
        if kind == "end":
            break
    assert seen.count("restart") == 1
    assert seen.count("end") == 1
    assert text.split() == [f"w{number}" for number in range(200)]
    ended = json.loads(stack.manage("tasks", "show", task["id"], "--json"))
    assert ended["status"] == "succeeded"
    assert ended["attempts"] == 2
    assert stack.worker_of(ended["instance"]) != killed


def test_a_stop_from_a_third_process_reaches_the_worker_and_the_provider(stack: Stack) -> None:
    token = stack.token()
    task = start_chat(stack, token, "fake-500-tokens-10-ms")
    stopped = False
    for kind, data in events(stack, token, task["id"]):
        if kind == "token" and not stopped:
            stack.manage("tasks", "stop", task["id"], "--wait", "5")
            stopped = True
        if kind == "end":
            assert data["status"] == "canceled"
            assert data["reason"] == "command"
    closed = [
        json.loads(line)
        for line in stack.provider_log.read_text().splitlines()
        if json.loads(line)["event"] == "closed"
    ]
    assert len(closed) == 1
    assert closed[0]["tokens"] < 500


def test_tasks_survive_a_restart_of_redis(stack: Stack) -> None:
    token = stack.token()
    task = start_chat(stack, token, MODEL, chat_id="chat-1")
    for kind, _ in events(stack, token, task["id"]):
        if kind == "token":
            break
    stack.redis.kill()
    away = httpx.get(
        f"{stack.urls[0]}/api/v1/tasks/{task['id']}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )
    assert away.status_code == 503
    assert "Retry-After" in away.headers
    stack.redis.start()
    shown = json.loads(stack.manage("tasks", "wait", task["id"], "--timeout", "40", "--json"))
    assert shown["status"] == "succeeded"
    assert shown["result"]["choices"][0]["message"]["content"].split()[-1] == "w199"
