"""A copy of the project as git has it, with this test run's packages as its virtualenv."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def make_checkout(folder: Path) -> Path:
    git = shutil.which("git") or "git"
    listed = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    environment = folder / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(Path(sys.executable).absolute())
    if sys.prefix != sys.base_prefix:
        (environment / "lib").symlink_to(Path(sys.prefix) / "lib")
        shutil.copy2(Path(sys.prefix) / "pyvenv.cfg", environment)
    mark_installed(folder)
    return folder


def mark_installed(folder: Path) -> None:
    """Write what make leaves after an installation: the packages are this test run's."""
    both = (folder / "requirements.txt").read_bytes() * 2
    sum_ = subprocess.run(
        [shutil.which("cksum") or "cksum"], input=both, capture_output=True, check=True, timeout=30
    )
    (folder / ".venv" / "run.installed").write_bytes(sum_.stdout)
