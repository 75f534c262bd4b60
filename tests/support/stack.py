"""A whole running system in a folder: Redis, scripted provider, web and worker processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tests.support.eventually import eventually_sync
from tests.support.processes import free_port
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
USER = "signaller"
PASSWORD = "a-long-enough-word"
START_SECONDS = 30.0
END_SECONDS = 20.0


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 our own processes
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Stack:
    """Starts the processes of one system, `web-1`, `worker-1` and so on, and ends exactly those."""

    def __init__(
        self, folder: Path, *, webs: int = 1, workers: int = 1, provider: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.redis = RedisServer(folder / "redis")
        self.provider_log = folder / "provider.jsonl"
        self._webs, self._workers, self._provider = webs, workers, provider
        self._provider_port = free_port()
        self.ports = [free_port() for _ in range(webs)]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ,
            "DEBUG": "1",
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "REDIS_URL": self.redis.url,
            "REDIS_KEY_PREFIX": "stack",
            "OPENAI_API_BASE_URL": f"http://127.0.0.1:{self._provider_port}/v1",
            "OPENAI_API_KEY": "stack",
            "DJANGO_SUPERUSER_USERNAME": USER,
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "DJANGO_SUPERUSER_EMAIL": "signaller@example.org",
        }

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def start(self) -> None:
        self.redis.folder.mkdir()
        self.redis.start()
        self.manage("migrate", "--verbosity", "0")
        self.manage("createsuperuser", "--noinput", "--verbosity", "0")
        self.run(
            "provider", "-m", "tests.support.fake_provider", "--port", str(self._provider_port),
            "--log", str(self.provider_log), *self._provider,
        )  # fmt: skip
        for number in range(1, self._workers + 1):
            self.start_worker(number)
        for number in range(1, self._webs + 1):
            self.start_web(number)
        for url in self.urls:
            self.wait_for(f"{url}/readyz")

    def stop(self) -> None:
        for name in list(self.processes):
            self.end(name)
        self.redis.kill()

    def start_web(self, number: int = 1) -> None:
        port = self.ports[number - 1]
        self.run(f"web-{number}", "manage.py", "web", "--host", "127.0.0.1", "--port", str(port))
        self.wait_for(f"{self.urls[number - 1]}/healthz")

    def start_worker(self, number: int = 1) -> None:
        name = f"worker-{number}"
        self.run(name, "manage.py", "taskworker", "--name", name, "--grace", "1")

    def wait_for(self, url: str) -> None:
        """Wait until it answers 200; no longer once one of our processes has died."""

        def ready() -> bool:
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            if dead:
                raise RuntimeError(f"Ended by itself: {', '.join(dead)}\n{self.logs()}")
            return answers(url)

        eventually_sync(ready, within=START_SECONDS)

    def manage(self, *words: str) -> str:
        """Run a management command to its end and return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT, env=self.environment, check=True, timeout=60, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout

    def token(self) -> str:
        """Return a new API token of the superuser."""
        return self.manage("createtoken", USER).strip()

    def run(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        """End it at once, as a crash would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(END_SECONDS)

    def end(self, name: str) -> None:
        """End it as an operator would; what does not follow in time is killed."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(END_SECONDS)

    def log_of(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def worker_of(self, instance: str) -> str:
        """Return the process name of a worker instance, e.g. `worker-2`."""
        found = re.match(r"worker-\d+", instance)
        if found is None:
            raise AssertionError(f"{instance!r} is no worker of this stack")
        return found[0]

    def logs(self) -> str:
        parts = (
            f"--- {path.name}\n{path.read_text()[-4000:]}" for path in self.folder.glob("*.log")
        )
        return "\n".join(parts)
