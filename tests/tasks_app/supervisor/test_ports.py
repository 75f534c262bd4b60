"""Ports: taken, free, and how they are named to people."""

from __future__ import annotations

import argparse
import asyncio
import socket

import pytest

from tasks_app.supervisor.errors import StartRefused
from tasks_app.supervisor.ports import check_free, port_number, until_listening, url
from tests.support.processes import free_port


def test_a_taken_port_is_refused_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartRefused, match=f"port {port} .*in use.*choose another with --port"):
            check_free("127.0.0.1", port)
    check_free("127.0.0.1", port)


def test_a_host_that_is_not_ours_is_refused() -> None:
    with pytest.raises(StartRefused, match=r"Cannot listen on 192\.0\.2\.1"):
        check_free("192.0.2.1", free_port())


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "", "8000.5", "²"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not a port"):
        port_number(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/"),
        ("0.0.0.0", "http://127.0.0.1:8000/"),  # noqa: S104 a name, not a bind
        ("::", "http://[::1]:8000/"),
        ("box.example", "http://box.example:8000/"),
    ],
)
def test_where_to_go(host: str, expected: str) -> None:
    assert url(host, 8000) == expected


async def test_waiting_for_who_listens() -> None:
    port = free_port()
    assert not await until_listening("127.0.0.1", port, within=0.05)
    waiting = asyncio.create_task(until_listening("127.0.0.1", port, within=10))
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port)
    async with server:
        assert await waiting
