"""Node programs of the tests: their packages installed from their lock file, then run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from realtime import bundle

STOCK_CLIENTS = Path(__file__).parents[1] / "realtime" / "documents" / "node" / "clients.mjs"
END_SECONDS = 10.0


def packages_of(folder: Path) -> str:
    """Install what the folder's lock file names unless that was done; return Node's path.

    Without Node or the npm registry the tests that ask for this cannot run.
    """
    try:
        tools = bundle.find_tools()
        wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
        mark = folder / "node_modules" / ".installed"
        if not mark.is_file() or mark.read_text() != wanted:
            bundle.install(folder, tools)
            mark.write_text(wanted)
    except bundle.BuildFailed as failed:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(str(failed))
        pytest.skip(str(failed))
    return tools.node


class Driven:
    """A Node program that answers each JSON line with one; `call` is synchronous."""

    def __init__(self, node: str, program: Path) -> None:
        self.process = subprocess.Popen(
            [node, str(program)],
            cwd=program.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def call(self, command: str, **options: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"command": command, **options}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the Node program ended with {self.process.poll()}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(END_SECONDS)

    def close(self) -> None:
        """Let the program end by itself; pipes are closed in any case."""
        try:
            if self.process.poll() is None:
                self.process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
