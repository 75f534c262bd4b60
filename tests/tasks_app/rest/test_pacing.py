"""Clients that do not read: what they cost, and how long they stay."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tasks_app import api
from tasks_app.rest import answering, pacing, places, tasks
from tasks_app.rest.errors import ApiError
from tasks_app.store import client, keys, scripts
from tests import sample_tasks
from tests.conftest import point_at
from tests.support.eventually import eventually
from tests.support.fake_provider import FakeProvider
from tests.tasks_app.rest.conftest import Person
from tests.tasks_app.rest.servers import SERVERS, Site, site

CLIENTS = 30
TEXT = "x" * 16_000
FLUSHES = 500  # 8 MB altogether


@pytest.fixture(params=SERVERS)
def running(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with site(request.param, redis_url, tmp_path) as made:
        yield made


def resident_bytes(running: Site) -> int:
    pages = Path(f"/proc/{running.web.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


async def large_task() -> api.Task:
    """Make a running task of the site's first user that has put out 8 MB."""
    ask = api.Ask(user_id="1", queue="nobody's")
    task = await api.enqueue_task(sample_tasks.wait_for_stop, ask=ask)
    prefix = keys.current().prefix
    call = scripts.claim(prefix, instance="w", slots=1, lease=300, queues=["nobody's"])
    [attempt] = (await client.arun(call)).attempts
    for number in range(1, FLUSHES + 1):
        events = (("token", f'{{"text":"{TEXT}"}}'),)
        flush = scripts.Flush(number=number, text=TEXT, progress=None, message="", events=events)
        await client.arun(scripts.emit(prefix, task_id=task.id, token=attempt.token, flush=flush))
    return task


def reader(running: Site, path: str) -> socket.socket:
    """Ask for a stream, read its first bytes, and nothing more."""
    address = urlsplit(running.url)
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    made.settimeout(20)
    made.connect((address.hostname, address.port))
    head = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {running.token}\r\n\r\n"
    )
    made.sendall(head.encode())
    assert b" 200 " in made.recv(64)
    return made


async def test_clients_that_do_not_read_cost_next_to_nothing(
    running: Site, redis_url: str, settings: Any, engine: None
) -> None:
    point_at(settings, redis_url, running.prefix)
    task = await large_task()
    path = f"/api/v1/tasks/{task.id}/events"

    def read_all() -> None:
        with running.client() as http, http.stream("GET", path) as response:
            received = 0
            for piece in response.iter_bytes():
                received += len(piece)
                if received > FLUSHES * len(TEXT):
                    return

    await asyncio.to_thread(read_all)
    before = resident_bytes(running)
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(await asyncio.to_thread(reader, running, path))
        # Meanwhile others are served all of it, several times.
        for _ in range(3):
            await asyncio.to_thread(read_all)
        grown = resident_bytes(running) - before
    assert grown < CLIENTS * FLUSHES * len(TEXT) / 3


async def test_a_client_that_reads_nothing_for_too_long_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "SLOW_READER_SECONDS", 0.05)
    monkeypatch.setattr(pacing, "DROP_SECONDS", 0.0)
    sent: list[dict[str, Any]] = []

    async def application(_scope: Any, _receive: Any, send: pacing.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 200_000, "more_body": True})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if len(sent) > 3:
            await asyncio.Event().wait()

    with pytest.raises(ConnectionAbortedError):
        await pacing.paced(application)({"path": "/x"}, None, send)
    assert [len(message.get("body", b"")) for message in sent] == [0, *[pacing.PIECE_BYTES] * 3]


async def test_what_is_cut_into_pieces_is_whole() -> None:
    sent: list[dict[str, Any]] = []

    async def application(_scope: Any, _receive: Any, send: pacing.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ab" * 100_000})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await pacing.paced(application)({"path": "/x"}, None, send)
    assert b"".join(message["body"] for message in sent[1:]) == b"ab" * 100_000
    assert [message["more_body"] for message in sent[1:]] == [True, True, True, False]


@pytest.mark.django_db(transaction=True)
async def test_a_user_has_so_many_streams_at_once(
    ada: Person, bob: Person, worker: Any, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MOST_STREAMS", 1)
    monkeypatch.setattr(answering, "MOST_STREAMS", 1)
    body = {
        "model": "fake-hang-after-3",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }
    chatting = asyncio.create_task(ada.http.post("/api/v1/chat/completions", json=body))
    (task_id,) = await eventually(api.unfinished_ids)
    path = f"/api/v1/tasks/{task_id}/events"
    following = asyncio.create_task(ada.http.get(path))
    await eventually(lambda: _is_taken(2))
    for again in (
        await ada.http.get(path),
        await ada.http.post("/api/v1/chat/completions", json=body),
    ):
        assert again.status_code == 429
        assert int(again.headers["retry-after"]) > 0
        assert "open here" in again.json()["detail"]
    assert len(await api.unfinished_ids()) == 1
    others = await bob.http.post("/api/v1/chat/completions", json={**body, "model": "fake-echo"})
    assert others.status_code == 200
    await api.stop_task(task_id, by="system")
    await chatting
    await following
    assert await _is_taken(0)
    assert (await ada.http.get(path)).status_code == 200


async def _is_taken(count: int) -> bool:
    return places._taken.total() == count


def test_a_place_is_given_back_once() -> None:
    place = places.take("streams", "7", 1)
    with pytest.raises(ApiError):
        places.take("streams", "7", 1)
    place.release()
    place.release()
    places.take("streams", "7", 1).release()
