"""Two web instances behind nginx, with docs/deploy/nginx.conf: one site, no sticky sessions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from realtime.domain.limits import MAX_FRAME_BYTES
from tests.realtime.client import Client, Frame, dial
from tests.support.nginx import find_nginx, nginx_before
from tests.support.stack import PASSWORD, USER, Stack

MODEL = "fake-400-tokens-10-ms"
ROOM = "public:nginx"
# What opening a socket may meet while an instance is away.
AWAY = (OSError, InvalidHandshake, ConnectionClosed, TimeoutError)


@dataclass(frozen=True)
class Front:
    """The site as its users see it."""

    stack: Stack
    port: int
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def dial(self, headers: dict[str, str] | None = None) -> Any:
        return dial(f"ws://127.0.0.1:{self.port}/ws/", headers or self.bearer)

    async def start(self) -> str:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "go"}]}
        headers = {**self.bearer, "Prefer": "respond-async"}
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
            answer = await http.post("/api/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    find_nginx()
    folder = Path(tempfile.mkdtemp(prefix="signalbox-"))
    stack = Stack(folder, webs=2, workers=1, provider=["--model", MODEL])
    stack.environment["BEHIND_PROXY"] = "1"
    try:
        stack.start()
        with nginx_before(stack.ports, folder) as port:
            yield Front(stack, port, stack.token())
    finally:
        stack.stop()
        shutil.rmtree(folder)


@pytest.fixture
async def spread(front: Front) -> AsyncIterator[list[Client]]:
    """Open sockets until they are on both instances; their sessions' ids say which."""
    async with contextlib.AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for _ in range(20):
            client = await stack.enter_async_context(front.dial())
            session_id = (await client.ask("user-join"))["data"]["session_id"]
            clients.setdefault(session_id[:8], client)
        yield list(clients.values())


def text_of(events: list[Frame]) -> str:
    return "".join(event["data"]["text"] for event in events if event["type"] == "token")


async def test_rooms_span_the_instances(front: Front, spread: list[Client]) -> None:
    assert len(spread) == 2
    for client in spread:
        await client.ask("room:join", {"room": ROOM})
    await spread[0].ask("room:send", {"room": ROOM, "event": "typing", "data": "x" * 10_000})
    for client in spread:
        assert (await client.next("room:event"))["event"] == "typing"
        assert (await client.next("room:presence"))["count"] == 1


async def test_the_largest_frame_passes(front: Front) -> None:
    async with front.dial() as client:
        shell = json.dumps({"type": "heartbeat", "ack": 1, "data": {"x": ""}})
        full = shell.replace('""', f'"{"y" * (MAX_FRAME_BYTES - len(shell))}"')
        await client.connection.send(full)
        await client.wait_for(lambda frame: frame["type"] == "ack")


async def test_events_pass_as_they_come(front: Front) -> None:
    """Neither nginx nor anything before it holds the answer back until it is whole."""
    task_id = await front.start()
    pieces: list[str] = []
    async with (
        httpx.AsyncClient(base_url=front.url, headers=front.bearer, timeout=60) as http,
        http.stream("GET", f"/api/v1/tasks/{task_id}/events") as response,
    ):
        async for piece in response.aiter_text():
            if not pieces:
                running = (await http.get(f"/api/v1/tasks/{task_id}")).json()
                assert running["finished_at"] is None
            pieces.append(piece)
    assert "event: end" in "".join(pieces)


async def test_signing_in_and_the_socket_with_the_page_cookie(front: Front) -> None:
    async with httpx.AsyncClient(base_url=front.url, timeout=30) as http:
        page = await http.get("/accounts/login/")
        field = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert field is not None
        form = {"username": USER, "password": PASSWORD, "csrfmiddlewaretoken": field[1]}
        answer = await http.post(
            "/accounts/login/", data=form, headers={"Origin": front.url, "Referer": front.url}
        )
        assert answer.status_code == 302
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    async with front.dial({"Cookie": cookie, "Origin": front.url}) as client:
        assert (await client.ask("user-join"))["data"]["name"] == USER
    with pytest.raises(InvalidHandshake):
        async with front.dial({"Cookie": cookie, "Origin": "http://elsewhere.example"}):
            pass


async def test_no_log_has_a_query_string(front: Front) -> None:
    async with httpx.AsyncClient(base_url=front.url, timeout=30) as http:
        await http.get("/healthz?token=secret-of-the-test")
    logs = {path.name: path.read_text() for path in front.stack.folder.glob("*.log")}
    assert "GET /healthz" in logs["nginx-access.log"]
    assert not [name for name, text in logs.items() if "secret-of-the-test" in text]


async def test_a_text_is_whole_while_the_instances_are_killed_in_turn(front: Front) -> None:
    """Whichever instance dies, nginx leads the client to the other, which goes on where it was."""
    task_id = await front.start()
    events: list[Frame] = []
    kills = 0
    async with asyncio.timeout(90):
        while not events or events[-1]["type"] != "end":
            with contextlib.suppress(*AWAY):
                async with front.dial() as client:
                    last = events[-1]["id"] if events else None
                    data = {"task_id": task_id, "last_event_id": last}
                    await client.ask("task:subscribe", data)
                    dies_at = len(events) + 30
                    while not events or events[-1]["type"] != "end":
                        events.append(await client.next("task:event"))
                        if len(events) == dies_at:
                            kills, number = kills + 1, kills % 2 + 1
                            front.stack.kill(f"web-{number}")
                            await asyncio.to_thread(front.stack.start_web, number)
    assert kills
    ids = [event["id"] for event in events]
    assert len(set(ids)) == len(ids)
    async with front.dial() as client:
        await client.ask("task:subscribe", {"task_id": task_id})
        whole: list[Frame] = []
        while not whole or whole[-1]["type"] != "end":
            whole.append(await client.next("task:event"))
    assert text_of(events) == text_of(whole)
    assert text_of(whole).count(" ") >= 399
