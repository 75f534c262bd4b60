"""A real Redis server for tests, to be killed and started again at will."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import redis

from tasks_app.supervisor.redis_server import find_server
from tests.support.eventually import eventually_sync


class RedisServer:
    """A Redis server on a Unix socket in its own folder; can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            # With "everysec" Redis holds writes back while the disk is busy with earlier ones, and
            # a kill then loses them: what these tests are about is our part.
            "appendfsync": "always",
        }
        words = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [str(find_server()), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually_sync(self.answers, within=10.0)

    def answers(self) -> bool:
        try:
            with contextlib.closing(redis.Redis(unix_socket_path=str(self.socket))) as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None
