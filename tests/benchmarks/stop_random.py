"""Stops a streamed answer of 4,000 tokens at a random point, again and again, and checks each.

One web process, one worker, one Redis, a scripted provider of one token a millisecond. Checked each
time: the task is canceled, the provider's connection was closed before the answer was complete,
what the stream's reader has is the text that the record keeps, a beginning of the answer, and there
is one `end`. Measured: from the stop's being recorded in Redis to the provider seeing its
connection closed. `python -m tests.benchmarks.stop_random --runs 100 --seed 7`
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import redis

from tests.support.stack import Stack

TOKENS = 4_000
MODEL = f"fake-{TOKENS}-tokens-1-ms"
ANSWER = "".join(f"w{number} " for number in range(TOKENS))
LATEST_STOP_S = 5.0  # such an answer takes a little longer than its tokens' four seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))  # noqa: S311 no secret
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 no secret
    folder = Path(tempfile.mkdtemp(prefix="signalbox-bench-"))
    stack = Stack(folder, provider=("--model", MODEL))
    try:
        stack.start()
        token = stack.token()
        runs = [
            one_run(stack, token, chance.uniform(0, LATEST_STOP_S)) for _ in range(options.runs)
        ]
    finally:
        stack.stop()
        shutil.rmtree(folder)
    report(runs, options.seed)


def one_run(stack: Stack, token: str, pause: float) -> dict[str, float]:
    """Stream, stop after `pause` seconds, check; return milliseconds and numbers of tokens."""
    headers = {"Authorization": f"Bearer {token}"}
    body = {"model": MODEL, "messages": [{"role": "user", "content": "go"}]}
    task = httpx.post(
        f"{stack.url}/api/v1/chat/completions", headers=headers | {"Prefer": "respond-async"},
        json=body,
    ).raise_for_status().json()  # fmt: skip
    seen: list[tuple[str, dict[str, Any]]] = []
    reading = threading.Thread(target=lambda: seen.extend(events(stack, task["id"], headers)))
    reading.start()
    time.sleep(pause)
    stopped = httpx.post(f"{stack.url}/api/v1/tasks/{task['id']}/stop", headers=headers)
    reading.join(20)
    assert not reading.is_alive(), "the stream of events did not end"
    if stopped.status_code == 409:  # it was faster
        check(seen, "succeeded", ANSWER)
        return {"tokens": TOKENS}
    assert stopped.status_code == 200, stopped.text
    text = check(seen, "canceled", None)
    again = list(events(stack, task["id"], headers))  # a reader that comes later
    assert text_of(again) == text
    with redis.Redis.from_url(stack.redis.url) as client:
        recorded = float(client.hget(f"stack:task:{task['id']}", "stopping")) / 1000  # type: ignore[arg-type]
    closed = closed_at(stack, recorded)
    tokens = float(len(text.split()))
    return {"tokens": tokens} if closed is None else {"tokens": tokens, "closed": closed * 1000}


def events(stack: Stack, task_id: str, headers: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """Read a task's events to their end."""
    found: list[tuple[str, dict[str, Any]]] = []
    url = f"{stack.url}/api/v1/tasks/{task_id}/events"
    kind = ""
    with httpx.stream("GET", url, headers=headers, timeout=30) as answer:
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                found.append((kind, json.loads(value)))
    return found


def text_of(seen: list[tuple[str, dict[str, Any]]]) -> str:
    return "".join(data["text"] for kind, data in seen if kind in {"token", "snapshot"})


def check(seen: list[tuple[str, dict[str, Any]]], status: str, text: str | None) -> str:
    ends = [data for kind, data in seen if kind == "end"]
    assert len(ends) == 1, ends
    assert seen[-1][0] == "end"
    assert ends[0]["status"] == status, ends
    got = text_of(seen)
    assert ANSWER.startswith(got), got[-200:]
    assert text is None or got == text
    return got


def closed_at(stack: Stack, stopped_at: float) -> float | None:
    """Return how many seconds after the stop we closed the newest connection.

    None when the provider had sent its last byte before the stop, and the task had not ended yet.
    """
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        last: dict[str, Any] = json.loads(stack.provider_log.read_text().splitlines()[-1])
        at = float(last["t"]) + time.time() - time.monotonic()
        if last["event"] == "closed":
            return at - stopped_at
        if last["event"] == "finished" and at <= stopped_at:
            return None
        time.sleep(0.02)
    raise AssertionError(f"The provider's connection was not closed: {last}")


def report(runs: list[dict[str, float]], seed: int) -> None:
    closed = sorted(run["closed"] for run in runs if "closed" in run)
    tokens = sorted(run["tokens"] for run in runs)
    p99 = closed[min(len(closed) - 1, int(len(closed) * 0.99))]
    print(f"seed {seed}: {len(runs)} runs, {len(closed)} stopped, {len(runs) - len(closed)} faster")
    print(
        f"tokens kept: {tokens[0]:.0f} to {tokens[-1]:.0f}, median {statistics.median(tokens):.0f}"
    )
    print(
        "stop recorded in Redis to connection closed, ms: "
        f"p50 {statistics.median(closed):.1f}, p99 {p99:.1f}, worst {closed[-1]:.1f}"
    )


if __name__ == "__main__":
    main()
