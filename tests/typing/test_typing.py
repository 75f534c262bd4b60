"""Both type checkers know what `@task` makes of a function; sample.py says what they report."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SAMPLE = HERE / "sample.py"
EXPECTED = re.compile(r"# mypy: (?P<mypy>[a-z -]+), pyright: (?P<pyright>[A-Za-z ]+)$")

pytestmark = pytest.mark.timeout(600)  # without their caches they read all of Django

Found = dict[int, set[str]]


def expected(checker: str) -> Found:
    lines = enumerate(SAMPLE.read_text().splitlines(), start=1)
    found = {number: EXPECTED.search(line) for number, line in lines if "# mypy: " in line}
    assert len(found) > 15
    assert None not in found.values(), "an expectation cannot be read"
    return {number: set(match[checker].split()) for number, match in found.items() if match}


def output(*command: str) -> str:
    """Run a checker of this virtualenv; it fails, for there is much to report."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT, env=os.environ | {"DEBUG": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def by_line(pairs: list[tuple[int, str]]) -> Found:
    found: Found = {}
    for line, code in pairs:
        found.setdefault(line, set()).add(code)
    return found


def test_mypy_strict() -> None:
    reports = [json.loads(line) for line in output("mypy", "-O", "json", str(SAMPLE)).splitlines()]
    assert {report["file"] for report in reports} == {str(SAMPLE.relative_to(ROOT))}
    found = by_line([(report["line"], report["code"]) for report in reports])
    assert found == expected("mypy")


def test_pyright() -> None:
    # basedpyright: the same checker, whose package brings all that it needs, its Node too.
    config = str(HERE / "pyrightconfig.json")
    told = output("basedpyright", "--outputjson", "-p", config, "--pythonpath", sys.executable)
    reports: list[Any] = json.loads(told)["generalDiagnostics"]
    assert {Path(report["file"]).name for report in reports} == {SAMPLE.name}
    found = by_line([(report["range"]["start"]["line"] + 1, report["rule"]) for report in reports])
    assert found == expected("pyright")
