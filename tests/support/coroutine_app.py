"""A small ASGI application for tests: it creates, lists and stops coroutines of its own process.

`/start?id=…&item=…`, `/list`, `/stop?id=…`; the lifespan is the project's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import parse_qs

from project.asgi import lifespan
from tasks_app import create_task, list_tasks, stop_task


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def wait_for_stop(task_id: str) -> None:
    say(f"started {task_id}")
    try:
        await asyncio.Event().wait()
    finally:
        say(f"finally {task_id}")


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    asked = {name: value[0] for name, value in parse_qs(scope["query_string"].decode()).items()}
    answer = await answers(scope["path"], asked)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def answers(path: str, asked: dict[str, str]) -> Any:
    if path == "/start":
        task_id, _ = await create_task(wait_for_stop(asked["id"]), asked["item"], asked["id"])
        return task_id
    if path == "/stop":
        return await stop_task(asked["id"], wait=True)
    return await list_tasks()
