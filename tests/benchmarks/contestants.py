"""Who takes part in the benchmark, and the virtual environment that each one needs."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".venv-bench"
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements"
INSTALL_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the table; `fast` ones get the full number of tasks, the others a part of it."""

    name: str
    module: str
    fast: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def requirements(self) -> Path:
        return REQUIREMENTS / f"{self.module}.txt"

    @property
    def python(self) -> str:
        """The interpreter: this one, or that of its own virtual environment."""
        if not self.requirements.exists():
            return sys.executable
        return str(ENVIRONMENTS / self.module / "bin" / "python")

    def install(self) -> None:
        """Make its virtual environment, unless these very requirements are installed already."""
        if not self.requirements.exists():
            return
        folder = ENVIRONMENTS / self.module
        wanted = hashlib.sha256(self.requirements.read_bytes()).hexdigest()
        mark = folder / "installed"
        if mark.exists() and mark.read_text() == wanted:
            return
        print(f"Installing {self.module} into {folder.relative_to(ROOT)} …", flush=True)
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [*pip, "--requirement", str(self.requirements)],
        ):
            subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
        mark.write_text(wanted)


CEILING, OURS = "ceiling", "signalbox"
ENTRIES = (
    Entry(name=CEILING, module="ceiling", fast=True),
    Entry(name=OURS, module="signalbox", fast=True),
    Entry(name="arq", module="arq"),
    Entry(name="arq, 10 ms", module="arq", environment={"BENCH_POLL_SECONDS": "0.01"}),
    Entry(name="saq", module="saq"),
    Entry(name="saq, 10 ms", module="saq", environment={"BENCH_POLL_SECONDS": "0.01"}),
    Entry(name="streaq", module="streaq"),
    Entry(name="taskiq", module="taskiq"),
)
