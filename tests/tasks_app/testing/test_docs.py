"""The examples of docs/testing.md and docs/django-tasks.md, run as their readers would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"```python\n# (?P<path>[\w/]+\.py)\n(?P<text>.*?)```", re.DOTALL)
CONFIG = """\
[pytest]
DJANGO_SETTINGS_MODULE = project.settings
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
addopts = -ra -p no:cacheprovider
"""


@pytest.mark.parametrize(("page", "least"), [("testing.md", 13), ("django-tasks.md", 5)])
def test_the_examples_work(tmp_path: Path, page: str, least: int) -> None:
    """Lay the page's files into a folder and run pytest there, in a process of its own."""
    text = (ROOT / "docs" / page).read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python"), "a block does not name its file"
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tasks_app.testing.plugin"]\n')
    for block in blocks:
        path = tmp_path / block["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block["text"])
    (tmp_path / "pytest.ini").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"DEBUG": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= least
