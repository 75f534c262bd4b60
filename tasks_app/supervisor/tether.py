"""Runs a command that is told to end when the process that started it dies, even by SIGKILL.

Started as a script, with the parent's process id and the command as its arguments; it sets the
kernel's parent-death signal, which an exec keeps, and becomes the command. Preferred to a pipe
that every child would have to watch (redis-server would not), and to a hook between fork and exec,
which is unsafe beside threads. The signal is SIGTERM, so that workers hand back their tasks and
Redis flushes its file. Where the kernel offers no such signal the command simply runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1


def tethered(command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` tethered to this process."""
    # -I and -S: nothing of the project or its packages is loaded, so it costs a few milliseconds.
    launcher = [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid())]
    return [*launcher, *command]


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the signal was set
        sys.exit(0)
    try:
        os.execvp(command[0], command)  # noqa: S606 no shell is what we want
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
