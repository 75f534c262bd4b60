"""A real nginx with the configuration that docs/deploy gives to operators."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.eventually import eventually_sync
from tests.support.processes import free_port
from tests.support.stack import ROOT

CONFIGURATION = ROOT / "docs" / "deploy" / "nginx.conf"
# Debian's: nginx is no command for everybody there.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  include {folder}/site.conf;
}}
"""


def find_nginx() -> str:
    """Return the program; without it the test is skipped, or fails where REQUIRE_NGINX=1."""
    found = shutil.which("nginx", path=PATH)
    if found is None:
        message = "No nginx on PATH: install nginx-light."
        if os.environ.get("REQUIRE_NGINX") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def nginx_before(ports: Sequence[int], folder: Path) -> Iterator[int]:
    """Run nginx in front of two instances; give the port that it listens to."""
    program, port = find_nginx(), free_port()
    site = CONFIGURATION.read_text()
    changes = {
        "127.0.0.1:8001": f"127.0.0.1:{ports[0]}",
        "127.0.0.1:8002": f"127.0.0.1:{ports[1]}",
        "listen 80;": f"listen 127.0.0.1:{port};",
        "/var/log/nginx/signalbox.log": f"{folder}/nginx-access.log",
    }
    for old, new in changes.items():
        assert site.count(old) == 1, old
        site = site.replace(old, new)
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    words = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        eventually_sync(lambda: _listens(port, process, folder), within=10.0)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int, process: subprocess.Popen[bytes], folder: Path) -> bool:
    assert process.poll() is None, (folder / "nginx.log").read_text()
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
