"""Web processes under real servers: one owns a coroutine, others list it, stop it, miss it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks_app import api
from tasks_app.worker.worker import Worker
from tests.conftest import running
from tests.support.eventually import eventually_sync
from tests.support.processes import Marked, Running, free_port, marked
from tests.tasks_app.rest.servers import ROOT, SERVERS

LEASE = 2.0


class Web:
    """One web process with the coroutine application."""

    def __init__(self, server: str, processes: Marked, folder: Path, prefix: str, url: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process: Running = processes.run(
            sys.executable, *SERVERS[server], str(port),
            "tests.support.coroutine_app:application",
            folder=folder, PYTHONPATH=str(ROOT), DEBUG="1", SECRET_KEY="only-for-tests",
            DATABASE_URL=f"sqlite:///{folder / 'db.sqlite3'}", REDIS_URL=url,
            REDIS_KEY_PREFIX=prefix, TASK_LEASE_SECONDS=str(LEASE), PYTHONUNBUFFERED="1",
        )  # fmt: skip

    def ask(self, path: str, **asked: str) -> Any:
        return httpx.get(f"{self.url}{path}", params=asked, timeout=20).raise_for_status().json()

    def answers(self) -> bool:
        try:
            return bool(self.ask("/list") is not None)
        except httpx.TransportError:
            return False


@pytest.fixture
def processes() -> Iterator[Marked]:
    with marked() as started:
        yield started


@pytest.fixture
def webs(processes: Marked, tmp_path: Path, redis_prefix: str, redis_url: str) -> list[Web]:
    made = [
        Web(server, processes, tmp_path, redis_prefix, redis_url)
        for server in ("uvicorn", "daphne", "uvicorn")
    ]
    for web in made:
        eventually_sync(web.answers, within=30)
    return made


@pytest.fixture(autouse=True)
async def _engine(engine: None, settings: Any) -> AsyncIterator[None]:
    settings.TASK_LEASE_SECONDS = LEASE
    return


@pytest.mark.parametrize("owner", [0, 1])
def test_one_owns_it_another_lists_it_a_third_stops_it(webs: list[Web], owner: int) -> None:
    second, third = [web for web in webs if web is not webs[owner]]
    webs[owner].ask("/start", id="mine", item="chat-1")
    assert second.ask("/list") == ["mine"]
    assert third.ask("/stop", id="mine") == {"status": True, "message": "Task mine was stopped."}
    assert "finally mine" in webs[owner].process.output
    assert second.ask("/list") == []
    assert not second.ask("/stop", id="mine")["status"]


def test_a_command_in_a_terminal_stops_it(
    webs: list[Web], processes: Marked, tmp_path: Path, redis_prefix: str, redis_url: str
) -> None:
    webs[0].ask("/start", id="mine", item="chat-1")
    command = processes.run(
        sys.executable, ROOT / "manage.py", "tasks", "stop", "mine",
        folder=tmp_path, DEBUG="1", SECRET_KEY="only-for-tests",
        REDIS_URL=redis_url, REDIS_KEY_PREFIX=redis_prefix,
    )  # fmt: skip
    assert command.ends() == 0, command.output
    webs[0].process.says("finally mine")


@pytest.mark.parametrize("owner", [0, 1])
async def test_a_killed_owner_makes_it_lost_and_watchers_see_it(
    webs: list[Web], owner: int
) -> None:
    await asyncio.to_thread(webs[owner].ask, "/start", id="mine", item="chat-1")
    async with running(Worker(grace=0.2)):
        watching = asyncio.create_task(last_event("mine"))
        os.kill(webs[owner].process.process.pid, signal.SIGKILL)
        end = await asyncio.wait_for(watching, 30)
    assert (end["status"], end["error"]["type"]) == ("lost", "InstanceDied")
    assert "finally mine" not in webs[owner].process.output
    task = await api.get_task("mine")
    assert (task.attempts, task.item_id) == (1, "chat-1")
    other = next(web for web in webs if web is not webs[owner])
    assert await asyncio.to_thread(other.ask, "/list") == []


async def last_event(task_id: str) -> dict[str, Any]:
    async with aclosing(api.follow(task_id)) as events:
        async for event in events:
            last = event
    assert last.type == "end"
    return last.data


def test_without_a_worker_another_owner_finds_it_lost(webs: list[Web]) -> None:
    webs[0].ask("/start", id="mine", item="chat-1")
    webs[1].ask("/start", id="other", item="chat-1")
    os.kill(webs[0].process.process.pid, signal.SIGKILL)
    eventually_sync(lambda: webs[2].ask("/list") == ["other"], within=30)


def test_a_lifespan_shutdown_settles_what_runs(webs: list[Web]) -> None:
    webs[0].ask("/start", id="mine", item="chat-1")
    webs[0].process.process.terminate()
    webs[0].process.ends()
    assert "finally mine" in webs[0].process.output
    assert webs[1].ask("/list") == []
    shown = api.find_sync("mine")
    assert shown is not None
    assert (shown.status, shown.stopped_by, shown.reason) == ("canceled", "system", "shutdown")


def test_without_lifespan_the_lease_expires(webs: list[Web]) -> None:
    webs[0].ask("/start", id="kept", item="chat-1")
    webs[1].ask("/start", id="mine", item="chat-1")
    webs[1].process.process.terminate()
    webs[1].process.ends()
    eventually_sync(lambda: webs[2].ask("/list") == ["kept"], within=30)
    shown = api.find_sync("mine")
    assert shown is not None
    assert shown.status == "lost"


def test_a_stop_still_arrives_after_seconds_of_silence(webs: list[Web]) -> None:
    """No read time-out may end the listener: redis-py's own is 5 s."""
    webs[0].ask("/start", id="mine", item="chat-1")
    began = time.monotonic()
    eventually_sync(lambda: time.monotonic() - began > 7, within=10, every=0.5)
    assert webs[2].ask("/list") == ["mine"]
    assert webs[1].ask("/stop", id="mine")["status"]
    assert "finally mine" in webs[0].process.output
