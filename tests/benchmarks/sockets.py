"""Many WebSocket clients in one process, cheap enough to count what a server delivers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import time
from collections.abc import Callable

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
SHORT, MEDIUM = 126, 127


class Socket(asyncio.Protocol):
    """One client; calls `arrived` with each text and the moment at which it came."""

    def __init__(self, request: bytes, arrived: Callable[[Socket, str, float], None]) -> None:
        self._request = request
        self._arrived = arrived
        self._buffer = bytearray()
        self._is_open = False
        self._waiting: list[str] = []  # to be sent after the handshake
        self.is_closed = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio gives it
        self.is_closed = True

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._buffer += data
        if not self._is_open:
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._is_open, self._buffer = True, bytearray(rest)
            for text in self._waiting:
                self.send(text)
        while (frame := self._frame()) is not None:
            code, payload = frame
            if code == TEXT:
                self._arrived(self, payload.decode(), now)
            elif code == PING:
                self._write(PONG, payload)

    def send(self, text: str) -> None:
        if self._is_open:
            self._write(TEXT, text.encode())
        else:
            self._waiting.append(text)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, at = buffer[1] & 127, 2
        if length == SHORT:
            if len(buffer) < 4:
                return None
            length, at = struct.unpack_from("!H", buffer, 2)[0], 4
        elif length == MEDIUM:
            if len(buffer) < 10:
                return None
            length, at = struct.unpack_from("!Q", buffer, 2)[0], 10
        if len(buffer) < at + length:
            return None
        frame = buffer[0] & 15, bytes(buffer[at : at + length])
        del buffer[: at + length]
        return frame

    def _write(self, code: int, payload: bytes) -> None:
        mask = os.urandom(4)
        size = len(payload)
        head = (
            struct.pack("!BB", 128 | code, 128 | size)
            if size < SHORT
            else struct.pack("!BBH", 128 | code, 128 | SHORT, size)
        )
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(head + mask + masked)


def handshake(path: str, port: int, headers: dict[str, str]) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket",
        "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(kind: str, **data: object) -> str:
    return json.dumps({"type": kind, "data": data, "ack": 1})
