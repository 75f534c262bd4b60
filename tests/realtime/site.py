"""A real site for the socket tests: servers as processes, a database file, users with credentials.

The servers share one Redis prefix; the tests change the database behind their backs with plain
SQL, which sends no Django signal.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.eventually import eventually_sync

ROOT = Path(__file__).resolve().parents[2]
USERS = 400

PREPARE = f"""
import json
import django
django.setup()
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from tasks_app.services.tokens import create_token
call_command("migrate", verbosity=0)
cards = []
for number in range({USERS}):
    user = User.objects.create(username=f"user{{number}}", password="!")
    cards.append(user)
cards.append(User.objects.create(username="root", password="!", is_superuser=True, is_staff=True))
cards.append(User.objects.create(username="clerk", password="!", is_staff=True))
cards[-1].user_permissions.add(Permission.objects.get(codename="view_task"))
rows = []
for user in cards:
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    rows.append([str(user.pk), user.username, create_token(user), session.session_key])
print(json.dumps(rows))
"""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the site with everything that signs them in."""

    id: str
    name: str
    token: str
    session_key: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"other=1; sessionid={self.session_key}"}


@dataclass(slots=True)
class Server:
    """One web process."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/"

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


@dataclass(slots=True)
class Site:
    """A database, a Redis prefix, accounts, and the servers that serve them."""

    folder: Path
    redis_url: str
    prefix: str = field(default_factory=lambda: f"site-{uuid.uuid4().hex[:12]}")
    accounts: list[Account] = field(default_factory=list)
    used: int = 0
    more: dict[str, str] = field(default_factory=dict)  # environment of its servers

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DEBUG": "0",
            "SECRET_KEY": "a key of the tests",
            "DATABASE_URL": f"sqlite:///{self.folder / 'site.sqlite3'}",
            "REDIS_URL": self.redis_url,
            "REDIS_KEY_PREFIX": self.prefix,
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "ALLOWED_HOSTS": "127.0.0.1,localhost,board.example",
            "CSRF_TRUSTED_ORIGINS": "https://trusted.example,https://*.family.example",
            **self.more,
        }

    def prepare(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", PREPARE],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.accounts = [Account(*row) for row in json.loads(done.stdout.splitlines()[-1])]

    def account(self) -> Account:
        """Return an ordinary user whom no other test has."""
        self.used += 1
        return self.accounts[self.used - 1]

    @property
    def superuser(self) -> Account:
        return self.accounts[USERS]

    @property
    def clerk(self) -> Account:
        """Return the staff member who may see every task and change none."""
        return self.accounts[USERS + 1]

    def django(self, code: str) -> None:
        """Run Django code in a process of its own, as a command or the admin of another would."""
        head = """
import django
django.setup()
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from tasks_app.models import ApiToken
"""
        subprocess.run(
            [sys.executable, "-c", head + code],
            cwd=ROOT, env=self.environment, check=True, timeout=60,
        )  # fmt: skip

    def sql(self, statement: str, *values: Any) -> None:
        path = self.folder / "site.sqlite3"
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as database, database:
            database.execute(statement, values)

    @contextlib.contextmanager
    def serving(self, kind: str, *options: str) -> Iterator[Server]:
        server = self.start(kind, *options)
        try:
            yield server
        finally:
            server.stop()

    def start(self, kind: str, *options: str) -> Server:
        port = free_port()
        log = self.folder / f"{kind}-{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command(kind, port), *options],
                cwd=ROOT, env=self.environment, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        server = Server(kind, port, process, log)
        try:
            eventually_sync(lambda: listens(server), within=30.0)
        except AssertionError:
            server.stop()
            raise
        return server


def command(kind: str, port: int) -> list[str]:
    application = "project.asgi:application"
    if kind == "daphne":
        limits = ["--websocket-max-message-size", "20000000"]
        limits += ["--websocket-max-frame-size", "20000000"]
        words = ["daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", *limits, application]
    else:
        words = ["uvicorn", "--host", "127.0.0.1", "--port", str(port)]
        words += ["--log-level", "warning", application]
    return [sys.executable, "-m", *words]


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(server: Server) -> bool:
    assert server.process.poll() is None, server.log.read_text()[-3000:]
    try:
        with contextlib.closing(socket.create_connection(("127.0.0.1", server.port), timeout=1)):
            return True
    except OSError:
        return False
