"""The whole program as processes: Redis, a scripted provider, a worker, and one web server."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.eventually import eventually_sync

ROOT = Path(__file__).resolve().parents[3]
SERVERS = {
    "daphne": ("-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p"),
    "uvicorn": ("-m", "uvicorn", "--log-level", "warning", "--host", "127.0.0.1", "--port"),
}


@dataclass
class Site:
    """Where the program is reached, and what its provider saw."""

    url: str
    token: str
    provider_log: Path
    web: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]
    prefix: str  # of its keys in Redis

    def client(self, **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, **options)

    def task(self, task_id: str) -> dict[str, Any]:
        with self.client() as client:
            shown: dict[str, Any] = client.get(f"/api/v1/tasks/{task_id}").json()
            return shown

    def provider_saw(self, model: str) -> list[str]:
        """Return what happened to the calls of a model: "received", "closed", …, in order."""
        lines = self.provider_log.read_text().splitlines() if self.provider_log.exists() else []
        found = [json.loads(line) for line in lines]
        return [line["event"] for line in found if line["model"] == model]


@contextlib.contextmanager
def site(server: str, redis_url: str, folder: Path, *, workers: int = 1) -> Iterator[Site]:
    """Run everything but Redis; ends only what it started."""
    log = folder / "provider.jsonl"
    env = {
        **os.environ,
        "DEBUG": "1",
        "SECRET_KEY": "only-for-tests",
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "REDIS_URL": redis_url,
        "REDIS_KEY_PREFIX": f"test-{uuid.uuid4().hex[:12]}",
        "PROVIDER_RETRY_SECONDS": "1",
        "TASK_LEASE_SECONDS": "2",
        "TASK_MAX_PAYLOAD_BYTES": "100000",
        "DJANGO_SUPERUSER_PASSWORD": "the-ada-password",
    }
    with contextlib.ExitStack() as stack:
        provider = _start(
            stack, env, "-m", "tests.support.fake_provider", "--log", str(log), read=True
        )
        assert provider.stdout is not None
        env["OPENAI_API_BASE_URL"] = provider.stdout.readline().decode().strip()
        _manage(env, "migrate", "--verbosity", "0")
        _manage(env, "createsuperuser", "--noinput", "--username", "ada", "--email", "a@b.example")
        token = _manage(env, "createtoken", "ada").strip()
        started = [
            _start(stack, env, "manage.py", "taskworker", "--grace", "0.5") for _ in range(workers)
        ]
        port = _free_port()
        # uvicorn takes the port before the application, daphne likewise.
        web = _start(stack, env, *SERVERS[server], str(port), "project.asgi:application")
        prefix = env["REDIS_KEY_PREFIX"]
        made = Site(f"http://127.0.0.1:{port}", token, log, web, started, prefix)
        eventually_sync(lambda: _is_ready(made), within=30)
        yield made


def _is_ready(made: Site) -> bool:
    for process in (made.web, *made.workers):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
    try:
        return httpx.get(f"{made.url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _manage(env: dict[str, str], *words: str) -> str:
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(
        command, cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def _start(
    stack: contextlib.ExitStack, env: dict[str, str], *words: str, read: bool = False
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE if read else subprocess.DEVNULL,
    )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
