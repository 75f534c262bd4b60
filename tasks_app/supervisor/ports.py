"""Whether a port can be listened on, and whether something listens."""

from __future__ import annotations

import argparse
import asyncio
import socket

from tasks_app.supervisor.errors import StartRefused

MAX_PORT = 65535
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 names, not binds


def port_number(text: str) -> int:
    """Parse a --port option."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 1…{MAX_PORT}")
    return int(text)


def check_free(host: str, port: int) -> None:
    """Raise StartRefused when nobody could listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise StartRefused(
            f"Cannot listen on {host} port {port} ({error.strerror}): "
            "stop what uses it, or choose another with --port or PORT."
        ) from error


def reachable(host: str) -> str:
    """Return an address under which this machine reaches what listens on `host`."""
    return ANYWHERE.get(host, host)


def url(host: str, port: int) -> str:
    address = reachable(host)
    return f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"


async def until_listening(host: str, port: int, *, within: float) -> bool:
    """Wait until a connection is accepted there; False when `within` seconds were not enough."""
    try:
        async with asyncio.timeout(within):
            while not await _accepts(reachable(host), port):  # noqa: ASYNC110 another process
                await asyncio.sleep(0.1)
    except TimeoutError:
        return False
    return True


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True
