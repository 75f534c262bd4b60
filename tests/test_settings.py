"""Settings from the environment: what is refused, what is made, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from project import env

ROOT = Path(__file__).parent.parent
READ = """
import json, sys
from django.conf import settings
print(json.dumps({name: getattr(settings, name) for name in sys.argv[1:]}, default=str))
"""


class Copy:
    """The settings in a folder of their own, so that `var/` is not this checkout's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "project", folder / "project")
        # Says which fields the task configuration has.
        (folder / "tasks_app").symlink_to(ROOT / "tasks_app")

    def start(self, *names: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", READ, *names],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(self.folder),
                "DJANGO_SETTINGS_MODULE": "project.settings",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read(self, *names: str, **environment: str) -> dict[str, Any]:
        with self.start(*names, **environment) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    def refusal(self, **environment: str) -> str:
        with self.start("DEBUG", **environment) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        return err.splitlines()[-1]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_without_debug_a_secret_key_is_demanded(copy: Copy) -> None:
    assert "SECRET_KEY is not set. Set it to a long random text, or set DEBUG=1" in copy.refusal()
    assert not (copy.folder / "var" / "secret_key").exists()


def test_with_debug_one_is_made_kept_and_private(copy: Copy) -> None:
    key = copy.read("SECRET_KEY", DEBUG="1")["SECRET_KEY"]
    kept = copy.folder / "var" / "secret_key"
    assert len(key) >= 50
    assert kept.read_text() == key
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert copy.read("SECRET_KEY", DEBUG="1")["SECRET_KEY"] == key
    assert [file.name for file in kept.parent.glob("*secret*")] == ["secret_key"]


def test_processes_that_start_at_once_agree_on_it(copy: Copy) -> None:
    processes = [copy.start("SECRET_KEY", DEBUG="1") for _ in range(6)]
    answers = {process.communicate(timeout=60)[0] for process in processes}
    assert len(answers) == 1
    assert len(json.loads(answers.pop())["SECRET_KEY"]) >= 50


def test_a_given_key_is_used(copy: Copy) -> None:
    found = copy.read("SECRET_KEY", "DEBUG", SECRET_KEY="given")
    assert found == {"SECRET_KEY": "given", "DEBUG": False}


def test_nonsense_stops_the_start_with_a_sentence(copy: Copy) -> None:
    assert "DEBUG='maybe': use one of 1/0" in copy.refusal(DEBUG="maybe")
    for name, value, reason in (
        ("PORT", "http", "is not a whole number"),
        ("TASK_LEASE_SECONDS", "0", "must be at least 1.0 seconds"),
        ("TASK_LEASE_SECONDS", "nan", "must be at least 1.0 seconds"),
        ("TASK_MAX_DELIVERIES", "0", "is too small: at least 1"),
    ):
        refusal = copy.refusal(**{"SECRET_KEY": "x", name: value})
        assert name in refusal
        assert reason in refusal


def test_https_makes_cookies_secure(copy: Copy) -> None:
    names = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT")
    assert set(copy.read(*names, SECRET_KEY="x").values()) == {False}
    assert set(copy.read(*names, SECRET_KEY="x", HTTPS="yes").values()) == {True}


def test_each_log_line_is_written_once() -> None:
    script = (
        "import django, logging; django.setup(); "
        "logging.getLogger('django.request').warning('Not Found: /nowhere')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "DEBUG": "1",
            "SECRET_KEY": "x",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr.count("Not Found: /nowhere") == 1


def test_probes_are_answered_without_tls(copy: Copy) -> None:
    (exempt,) = copy.read("SECURE_REDIRECT_EXEMPT", SECRET_KEY="x", HTTPS="1").values()
    redirect = [
        path
        for path in ("healthz", "readyz", "api/v1/me", "xhealthz")
        if not any(re.search(pattern, path) for pattern in exempt)
    ]
    assert redirect == ["api/v1/me", "xhealthz"]


def test_redis_url_turns_the_embedded_server_off(copy: Copy) -> None:
    given = {"SECRET_KEY": "x", "REDIS_URL": "redis://elsewhere:6379/3"}
    found = copy.read("EMBEDDED_REDIS", "CACHES", "CHANNEL_LAYERS", **given)
    assert found["EMBEDDED_REDIS"] is False
    assert found["CACHES"]["default"]["LOCATION"] == given["REDIS_URL"]
    assert found["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"] == [given["REDIS_URL"]]


def test_the_embedded_socket_is_in_var_where_that_is_short_enough(tmp_path: Path) -> None:
    found = Copy(tmp_path).read("EMBEDDED_REDIS", "EMBEDDED_REDIS_SOCKET", SECRET_KEY="x")
    assert found["EMBEDDED_REDIS"] is True
    assert found["EMBEDDED_REDIS_SOCKET"] == str(tmp_path / "var" / "redis" / "redis.sock")


def test_a_deep_checkout_gets_a_short_socket_of_its_own(tmp_path: Path) -> None:
    sockets = set()
    for name in ("a" * 100, "b" * 100):
        copy = Copy(tmp_path / name)
        found = [copy.read("EMBEDDED_REDIS_SOCKET", "REDIS_URL", SECRET_KEY="x") for _ in range(2)]
        assert found[0] == found[1]
        socket = found[0]["EMBEDDED_REDIS_SOCKET"]
        assert len(socket) <= 100
        assert found[0]["REDIS_URL"] == f"unix://{socket}"
        sockets.add(socket)
    assert len(sockets) == 2


# --- project/env.py ------------------------------------------------------------------------------


@pytest.fixture
def variable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    def put(value: str) -> str:
        monkeypatch.setenv("SOME_SETTING", value)
        return "SOME_SETTING"

    return put


@pytest.mark.parametrize("word", ["1", "true", "YES", "On", " yes "])
def test_flags_that_are_on(variable: Callable[[str], str], word: str) -> None:
    assert env.flag(variable(word)) is True


@pytest.mark.parametrize("word", ["0", "False", "no", "OFF"])
def test_flags_that_are_off(variable: Callable[[str], str], word: str) -> None:
    assert env.flag(variable(word), default=True) is False


def test_empty_is_the_default(variable: Callable[[str], str]) -> None:
    name = variable("  ")
    assert env.flag(name, default=True) is True
    assert env.text(name, "x") == "x"
    assert env.number(name, 7) == 7
    assert env.seconds(name, 1.5) == 1.5
    assert env.words(name, "a,b") == ["a", "b"]


def test_words_are_trimmed(variable: Callable[[str], str]) -> None:
    assert env.words(variable(" a ; ;b"), separator=";") == ["a", "b"]


@pytest.mark.parametrize(
    "read",
    [
        env.flag,
        lambda name: env.number(name, 1),
        lambda name: env.seconds(name, 1),
    ],
)
@pytest.mark.parametrize("value", ["2x", "-", "infinity", "ja"])
def test_nonsense_names_the_variable(
    variable: Callable[[str], str], read: Callable[[str], Any], value: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match="SOME_SETTING"):
        read(variable(value))
