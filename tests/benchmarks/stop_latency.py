"""Measures how long a stop takes across processes; prints p50 and p99 of every step.

Two web processes, two workers, one Redis. Each run starts a chat completion of 500 tokens through
the first web process, watches it through the second, and stops it by `manage.py tasks stop` in a
third process. `python -m tests.benchmarks.stop_latency --runs 50`
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import redis

from tests.support.stack import ROOT, Stack

MODEL = "fake-500-tokens-10-ms"
STEPS = {
    "command": "from the start of the command to its end",
    "baseline": "the same for `tasks show`: what starting Python and Django costs",
    "recorded": "from the start of the command to the request being in Redis",
    "closed": "from the request in Redis to the provider seeing its connection closed",
    "finally": "from the request in Redis to the end of the coroutine (its finally has run)",
    "seen": "from the request in Redis to the watcher at the other web process seeing `end`",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    folder = Path(tempfile.mkdtemp(prefix="signalbox-bench-"))
    stack = Stack(folder, webs=2, workers=2)
    try:
        stack.start()
        measured = [one_run(stack, stack.token()) for _ in range(parser.parse_args().runs)]
    finally:
        stack.stop()
        shutil.rmtree(folder)
    report(measured)


def report(measured: list[dict[str, float]]) -> None:
    print(f"{len(measured)} runs; milliseconds; Redis' and the log's clock tick in whole ones")
    print(f"{'step':10}{'p50':>9}{'p99':>9}{'worst':>9}   meaning")
    for step, meaning in STEPS.items():
        values = sorted(run[step] * 1000 for run in measured)
        p99 = values[min(len(values) - 1, int(len(values) * 0.99))]
        print(f"{step:10}{statistics.median(values):9.1f}{p99:9.1f}{values[-1]:9.1f}   {meaning}")


def one_run(stack: Stack, token: str) -> dict[str, float]:
    headers = {"Authorization": f"Bearer {token}"}
    body = {"model": MODEL, "messages": [{"role": "user", "content": "go"}]}
    answer = httpx.post(
        f"{stack.urls[0]}/api/v1/chat/completions",
        headers=headers | {"Prefer": "respond-async"}, json=body,
    )  # fmt: skip
    task_id = answer.raise_for_status().json()["id"]
    times: dict[str, float] = {}
    with httpx.stream(
        "GET", f"{stack.urls[1]}/api/v1/tasks/{task_id}/events", headers=headers, timeout=30
    ) as events:
        command: subprocess.Popen[bytes] | None = None
        for line in events.iter_lines():
            if line.startswith("event: token") and command is None:
                times["began"] = time.time()
                command = start_command(stack, "stop", task_id)
            if line.startswith("event: end"):
                times["seen"] = time.time()
        assert command is not None
        command.wait(20)
        times["ended"] = time.time()
    began = time.time()
    start_command(stack, "show", task_id).wait(20)
    times["baseline"] = time.time() - began
    return steps(stack, task_id, times)


def start_command(stack: Stack, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "tasks", *words],
        cwd=ROOT, env=stack.environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def steps(stack: Stack, task_id: str, times: dict[str, float]) -> dict[str, float]:
    with redis.Redis.from_url(stack.redis.url) as client:
        recorded = float(client.hget(f"stack:task:{task_id}", "stopping")) / 1000  # type: ignore[arg-type]
        assert client.hget(f"stack:task:{task_id}", "status") == b"canceled"
    return {
        "command": times["ended"] - times["began"],
        "baseline": times["baseline"],
        "recorded": recorded - times["began"],
        "closed": provider_closed(stack) - recorded,
        "finally": coroutine_ended(stack, task_id) - recorded,
        "seen": times["seen"] - recorded,
    }


def provider_closed(stack: Stack) -> float:
    """Return when the newest connection was closed by us, on the wall clock."""
    last: dict[str, Any] = json.loads(stack.provider_log.read_text().splitlines()[-1])
    assert last["event"] == "closed", last
    return float(last["t"]) + time.time() - time.monotonic()


def coroutine_ended(stack: Stack, task_id: str) -> float:
    """Return when the worker saw the coroutine end, from its log."""
    logs = "".join(stack.log_of(f"worker-{number}") for number in (1, 2))
    found = re.search(rf"(\S+ \S+) INFO \S+ attempt_ended task_id={task_id}", logs)
    assert found is not None
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007 local


if __name__ == "__main__":
    main()
