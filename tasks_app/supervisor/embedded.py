"""Keeps the embedded Redis running: our own, or the one that another `up` already runs here."""

from __future__ import annotations

import asyncio
import fcntl
import time
from typing import IO

from tasks_app.supervisor.child import Backoff, Child
from tasks_app.supervisor.console import Console
from tasks_app.supervisor.errors import StartRefused
from tasks_app.supervisor.redis_server import RedisServer, State

READY_SECONDS = 120.0  # reading a large append-only file takes its time
POLL_SECONDS = 0.05
WATCH_SECONDS = 1.0


class EmbeddedRedis:
    """Serves one place. Whoever holds the folder's lock may start a server; others share it."""

    def __init__(
        self, server: RedisServer, console: Console, *, backoff: Backoff | None = None
    ) -> None:
        self._server = server
        self._console = console
        self._child = Child(server.program(), console, backoff=backoff)
        self._lock: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id, if it is ours."""
        return self._child.pid

    async def start(self) -> None:
        """Return when a Redis answers; raises StartRefused when none can be started."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            state = await self._server.state()
            if state is State.READY:
                if self._lock is None:
                    self._console.say(f"using the Redis that already runs at {self._server.socket}")
                return
            if state is State.ABSENT and self._lock is None and self._take_lock():
                await self._child.start()
            elif self._lock is not None and self._child.pid is None:
                raise StartRefused(await self._why())
            await asyncio.sleep(POLL_SECONDS)
        raise StartRefused(
            f"Redis at {self._server.socket} did not answer within {READY_SECONDS:g} s."
        )

    async def keep_alive(self) -> None:
        """Start a server again whenever there is none, until `stop`."""
        while self._lock is None:
            await asyncio.sleep(WATCH_SECONDS)
            if await self._server.state() is State.ABSENT and self._take_lock():
                self._console.say("the Redis that was used here has ended; starting one")
                await self._child.start()
        await self._child.keep_alive()

    async def stop(self) -> None:
        """Stop the server if it is ours."""
        await self._child.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> bool:
        # Two servers on one folder would spoil its file, and the second takes the first's socket.
        lock = (self._server.data / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    async def _why(self) -> str:
        await self._child.ended()
        said = "\n  ".join(list(self._child.tail)[-5:]) or "nothing"
        return (
            f"Redis ({self._child.program.command[0]}) could not start on {self._server.data}. "
            "If a newer Redis wrote that folder, install that version again, or move the folder "
            f"away to start without its tasks. It said:\n  {said}"
        )
