"""`make run` and `manage.py up` as a newcomer has them: a copy of the project, real processes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from tests.support.checkout import make_checkout
from tests.support.eventually import eventually_sync
from tests.support.processes import Marked, Running, free_port, marked

# Long enough that a socket in var/ has no room, and with characters that need care.
DEEP = "a copy with spaces, ü and 100% " + "long " * 12
END_SECONDS = 30  # what the contract and the newcomer's patience allow

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def processes() -> Iterator[Marked]:
    with marked() as found:
        yield found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what git would, with this test run's packages as its virtualenv."""
    return make_checkout(tmp_path / "project")


class Site:
    """One start of `make run` in a checkout."""

    def __init__(self, checkout: Path, processes: Marked, *command: str, **extra: str) -> None:
        self.checkout = checkout
        self.port = free_port()
        self.processes = processes
        for name in ("REDIS_URL", "DEBUG", "SECRET_KEY", "DJANGO_SETTINGS_MODULE"):
            extra.setdefault(name, "")
        self.running = processes.run(
            *(command or ("make", "run")), folder=checkout, PORT=str(self.port), **extra
        )

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ready(self) -> str:
        output = self.running.says("Ctrl-C stops everything", within=60)
        eventually_sync(self._answers, within=30)
        return output

    def _answers(self) -> bool:
        try:
            answer = httpx.get(self.url("/readyz"), timeout=10)
        except httpx.TransportError:  # between two lives of the web server
            return False
        assert answer.status_code == 200, (answer.text, self.running.output)
        return True

    def stop(self) -> None:
        self.running.interrupt()
        self.running.ends(within=END_SECONDS)
        eventually_sync(lambda: self.processes.pids() == [], within=5)

    def redis(self) -> redis.Redis:
        ask = "from django.conf import settings; print(settings.EMBEDDED_REDIS_SOCKET)"
        socket = subprocess.run(
            [".venv/bin/python", "manage.py", "shell", "-v", "0", "-c", ask], cwd=self.checkout,
            env={**os.environ, "DEBUG": "1", "REDIS_URL": ""},
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout.strip()  # fmt: skip
        return redis.Redis(unix_socket_path=socket, decode_responses=True)


def sign_in(site: Site, username: str, password: str) -> int:
    with httpx.Client(base_url=site.url(""), timeout=10) as client:
        client.get("/accounts/login/")
        form = {
            "username": username,
            "password": password,
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
        }
        return client.post("/accounts/login/", data=form).status_code


def test_from_the_first_start_to_the_second(tmp_path: Path, processes: Marked) -> None:
    checkout = make_checkout(tmp_path / DEEP)
    first = Site(checkout, processes)
    output = first.ready()
    assert f"Signalbox is at http://127.0.0.1:{first.port}/" in output
    [password] = re.findall(r"Sign in as admin with the password (\S+) ", output)
    assert sign_in(first, "admin", password) == 302
    assert sign_in(first, "admin", "wrong") == 200
    with contextlib.closing(first.redis()) as client:
        client.set("task", "kept")
    names = {line.partition("|")[0].strip() for line in first.running.output.splitlines()}
    assert {"up", "web", "worker-1", "redis"} <= names
    first.stop()

    second = Site(checkout, processes)
    output = second.ready()
    assert "Installing" not in output
    assert password not in output
    assert "use the password from the first start, or: manage.py changepassword admin" in output
    assert sign_in(second, "admin", password) == 302
    with contextlib.closing(second.redis()) as client:
        assert client.get("task") == "kept"
        socket = Path(client.connection_pool.connection_kwargs["path"])
    second.stop()
    assert checkout not in socket.parents  # there was no room for it there
    socket.parent.rmdir()  # empty: the server took its socket away


def test_sigterm_to_make_alone_ends_everything(checkout: Path, processes: Marked) -> None:
    site = Site(checkout, processes)
    site.ready()
    site.running.process.terminate()
    site.running.ends(within=END_SECONDS)
    eventually_sync(lambda: processes.pids() == [], within=END_SECONDS)


def up(checkout: Path, processes: Marked, *words: str, **environment: str) -> Site:
    command = (".venv/bin/python", "manage.py", "up", *words)
    return Site(checkout, processes, *command, **{"DEBUG": "1", **environment})


def test_what_dies_is_started_again(checkout: Path, processes: Marked) -> None:
    site = up(checkout, processes, "--workers", "2")
    site.ready()
    for words, name in (
        (("taskworker", "worker-2"), "worker-2"),
        (("manage.py", "web"), "web"),
        (("redis-server",), "redis"),
    ):
        old = processes.one(*words)
        os.kill(old, signal.SIGKILL)
        site.running.says(f"{name} ended (signal SIGKILL); starting it again in 0.5 s")
        eventually_sync(lambda words=words, old=old: processes.pids(*words) not in ([], [old]))
    site.ready()
    site.stop()
    assert site.running.process.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_killing_up_itself_leaves_nobody(checkout: Path, processes: Marked) -> None:
    site = up(checkout, processes)
    site.ready()
    site.running.process.kill()
    eventually_sync(lambda: processes.pids() == [], within=END_SECONDS)


def test_ctrl_c_during_the_start_ends_everything(checkout: Path, processes: Marked) -> None:
    site = up(checkout, processes)
    site.running.says("redis ")
    site.stop()


def test_a_taken_port_is_one_sentence(checkout: Path, processes: Marked) -> None:
    taken = up(checkout, processes)
    taken.ready()
    other = processes.run(
        ".venv/bin/python", "manage.py", "up", "--port", str(taken.port),
        folder=checkout, DEBUG="1", REDIS_URL="",
    )  # fmt: skip
    assert other.ends() == 1
    [sentence] = other.output.strip().splitlines()
    assert f"Cannot listen on 127.0.0.1 port {taken.port}" in sentence
    taken.stop()


def test_two_at_once_share_one_redis(checkout: Path, processes: Marked) -> None:
    first = up(checkout, processes)
    first.ready()
    second = up(checkout, processes)
    assert "using the Redis that already runs" in second.ready()
    server = processes.one("redis-server")
    second.running.interrupt()
    second.running.ends(within=END_SECONDS)
    assert processes.pids("redis-server") == [server]
    first.ready()
    first.stop()


def test_given_a_redis_none_is_started(
    checkout: Path, processes: Marked, redis_url: str, redis_prefix: str
) -> None:
    site = up(checkout, processes, REDIS_URL=redis_url, REDIS_KEY_PREFIX=redis_prefix)
    site.ready()
    assert processes.pids("redis-server") == []
    assert not (checkout / "var" / "redis").exists()
    site.stop()


def test_the_superuser_of_the_environment(checkout: Path, processes: Marked) -> None:
    given = {"DJANGO_SUPERUSER_USERNAME": "alice", "DJANGO_SUPERUSER_PASSWORD": "correct horse"}
    site = up(checkout, processes, **given)
    output = site.ready()
    assert "Sign in as alice" in output
    assert "correct horse" not in output
    assert sign_in(site, "alice", "correct horse") == 302
    site.stop()


def make(folder: Path, processes: Marked, *targets: str, path: Path) -> Running:
    return processes.run(shutil.which("make") or "make", *targets, folder=folder, PATH=str(path))


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Make a PATH with the ordinary tools and no Python at all."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("bash", "sh", "cat", "cksum", "env"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return folder


def test_without_python_it_says_what_is_needed(
    checkout: Path, processes: Marked, tools: Path
) -> None:
    shutil.rmtree(checkout / ".venv")
    done = make(checkout, processes, "run", path=tools)
    assert done.ends() == 2
    assert "Signalbox needs Python 3.11 or later, and none was found" in done.output
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # as the question for its version ends in 3.10
    old.chmod(0o755)
    assert make(checkout, processes, "run", path=tools).ends() == 2


def test_changed_requirements_are_installed_and_unchanged_ones_are_not(
    checkout: Path, processes: Marked, tools: Path
) -> None:
    assert make(checkout, processes, "runtime", path=tools).ends() == 0
    requirements = checkout / "requirements.txt"
    requirements.write_text("# nothing is needed\n")
    done = make(checkout, processes, "runtime", path=tools)
    assert done.ends() == 0
    assert "Installing requirements.txt" in done.output
    before = time.time()
    os.utime(
        requirements, (before + 60, before + 60)
    )  # a checkout touches files; that is no change
    done = make(checkout, processes, "runtime", path=tools)
    assert done.ends() == 0
    assert "Installing" not in done.output
