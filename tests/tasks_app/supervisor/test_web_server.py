"""The web server as a real process: its limits, its log and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.processes import Marked, free_port, marked

ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys, django
django.setup()
from tasks_app.supervisor.web_server import build_server
from tests.support.echo_app import application
build_server(application, host="127.0.0.1", port=int(sys.argv[1]), output=sys.stdout).run()
"""


class Server:
    def __init__(self, folder: Path, processes: Marked, **environment: str) -> None:
        self.port = free_port()
        variables = {
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "DEBUG": "1",
            "DOCUMENT_MAX_BYTES": "2000000",
            **environment,
        }
        command = [sys.executable, "-u", "-c", SCRIPT, str(self.port)]
        self.running = processes.run(*command, folder=folder, **variables)
        self.running.says("lifespan startup")

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"


@pytest.fixture
def processes() -> Iterator[Marked]:
    with marked() as found:
        yield found


@pytest.fixture
def server(tmp_path: Path, processes: Marked) -> Server:
    return Server(tmp_path, processes)


async def test_the_access_log_has_no_query_strings(server: Server) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(server.url("/page?token=hunter2"))
    assert answer.status_code == 200
    assert "server" not in answer.headers
    async with connect(server.url("/ws/?token=hunter2", "ws")) as socket:
        await socket.send(b"x")
        await socket.recv()
    output = server.running.says("WSDISCONNECT /ws/")
    assert '"GET /page"' in output
    assert "hunter2" not in output


async def test_a_broken_form_reaches_the_application(server: Server) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            server.url("/"),
            content=b"no form",
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
    assert (answer.status_code, answer.text) == (200, "127.0.0.1")
    server.running.says("body b'no form'")


async def test_a_message_may_be_as_large_as_a_document_and_a_little(server: Server) -> None:
    largest = 2_000_000 + 64 * 1024
    async with connect(server.url("/ws/", "ws"), max_size=None) as socket:
        await socket.send(b"x" * largest)
        assert await socket.recv() == str(largest)
        with pytest.raises(ConnectionClosed):  # while it is sent, or after that
            await _exchange(socket, b"x" * (largest + 1))


async def _exchange(socket: ClientConnection, message: bytes) -> None:
    await socket.send(message)
    await socket.recv()


async def test_it_ends_at_once_though_clients_stay(server: Server) -> None:
    async with (
        connect(server.url("/ws/", "ws")) as socket,
        httpx.AsyncClient() as client,
        client.stream("GET", server.url("/stream")) as answer,
    ):
        assert answer.status_code == 200
        await socket.send(b"x")
        await socket.recv()
        os.kill(server.running.process.pid, signal.SIGTERM)
        assert await asyncio.to_thread(server.running.ends, within=10) == 0
    output = server.running.output
    assert 0 < output.find("socket ended") < output.find("lifespan shutdown")


async def test_who_ignores_the_end_does_not_hold_it_up(server: Server) -> None:
    async with connect(server.url("/stubborn", "ws")) as socket:
        await socket.send(b"x")
        await socket.recv()
        os.kill(server.running.process.pid, signal.SIGTERM)
        assert await asyncio.to_thread(server.running.ends, within=20) == 0


async def test_behind_a_proxy_the_clients_address_is_the_forwarded_one(
    tmp_path: Path, processes: Marked
) -> None:
    headers = {"X-Forwarded-For": "203.0.113.7"}
    for environment, expected in (({}, "127.0.0.1"), ({"BEHIND_PROXY": "1"}, "203.0.113.7")):
        server = Server(tmp_path, processes, **environment)
        async with httpx.AsyncClient(headers=headers) as client:
            assert (await client.get(server.url("/"))).text == expected


def test_a_taken_port_is_one_sentence(
    server: Server, tmp_path: Path, processes: Marked, redis_url: str
) -> None:
    command = [sys.executable, ROOT / "manage.py", "web", "--port", str(server.port)]
    web = processes.run(*command, folder=tmp_path, DEBUG="1", REDIS_URL=redis_url)
    assert web.ends() == 1
    assert f"Cannot listen on 127.0.0.1 port {server.port}" in web.output
    assert "Traceback" not in web.output
