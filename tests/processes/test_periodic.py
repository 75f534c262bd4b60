"""Real workers and periodic jobs: no period twice, whoever dies and whatever their clocks say."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks_app import api
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys, scripts
from tasks_app.store import periodic as store
from tasks_app.store.scripts import Call
from tests import sample_tasks
from tests.conftest import RedisServer, point_at
from tests.support.eventually import eventually_sync

ROOT = Path(__file__).parents[2]
EACH_SECOND = "tests.periodic_app.tasks.each_second"
HOLD_ON = "tests.periodic_app.tasks.hold_on"
LEASE_SECONDS = 2

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(
    tmp_path: Path, redis_prefix: str, own_redis: RedisServer, settings: object
) -> Iterator[Start]:
    """Start workers on a Redis of their own; each is ended at the end."""
    point_at(settings, own_redis.url, "jobs")
    started: list[subprocess.Popen[bytes]] = []

    def begin(*words: str, **environment: str) -> subprocess.Popen[bytes]:
        variables = {
            **os.environ, "DEBUG": "1", "REDIS_URL": own_redis.url, "REDIS_KEY_PREFIX": "jobs",
            "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
            "DJANGO_SETTINGS_MODULE": "tests.periodic_app.settings",
            "TASK_LEASE_SECONDS": str(LEASE_SECONDS), **environment,
        }  # fmt: skip
        command = [sys.executable, "manage.py", "taskworker", "--grace", "0.1", *words]
        started.append(subprocess.Popen(command, cwd=ROOT, env=variables))
        return started[-1]

    try:
        yield begin
    finally:
        for process in started:
            process.kill()
            process.wait(10)


def noted(job: str) -> list[tuple[str, int, int, int]]:
    name = f"{keys.current().prefix}noted:{job}"
    with contextlib.suppress(StoreUnavailable):
        lines = client.run(Call(list, ("LRANGE", name, 0, -1)))
        return [
            (event, int(due), int(fence), int(pid))
            for event, due, fence, pid in (line.split() for line in lines)
        ]
    return []


def times(job: str, event: str, at_least: int) -> Callable[[], bool]:
    return lambda: [line[0] for line in noted(job)].count(event) >= at_least


def processes_of(job: str) -> set[int]:
    return {pid for _, _, _, pid in noted(job)}


def test_two_processes_run_each_second_once_though_their_clocks_disagree(start: Start) -> None:
    start()
    start(WRONG_CLOCK_SECONDS="86400")
    start(WRONG_CLOCK_SECONDS="-500")
    eventually_sync(times(EACH_SECOND, "ran", 6), within=40)
    ran = noted(EACH_SECOND)
    dues = [due for _, due, _, _ in ran]
    assert len(set(dues)) == len(dues)
    assert dues == sorted(dues)
    assert {(due - dues[0]) % 1000 for due in dues} == {0}
    assert (
        abs(dues[-1] - client.run(store.clock(keys.current()))) < 60_000
    )  # Redis' time and nobody else's
    fences = [fence for _, _, fence, _ in ran]
    assert fences == sorted(set(fences))


def test_another_goes_on_when_the_one_that_runs_it_is_killed(start: Start) -> None:
    workers = {process.pid: process for process in (start(), start())}
    eventually_sync(times(HOLD_ON, "began", 1), within=40)
    first = noted(HOLD_ON)[0]
    workers[first[3]].kill()
    eventually_sync(times(HOLD_ON, "began", 2), within=40)
    second = noted(HOLD_ON)[1]
    assert second[3] != first[3]
    assert second[1] > first[1]  # another period
    assert second[2] > first[2]  # a higher fence: the dead one could not write any more
    ran = [due for _, due, _, _ in noted(EACH_SECOND)]
    assert len(set(ran)) == len(ran)


def test_sigterm_ends_the_run_and_releases_its_lock(start: Start) -> None:
    worker = start()
    eventually_sync(times(HOLD_ON, "began", 1), within=40)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert [event for event, *_ in noted(HOLD_ON)] == ["began", "ended"]
    assert client.run(store.lock_owner(keys.current(), "slow")) is None


def test_a_restart_of_redis_repeats_no_period(start: Start, own_redis: RedisServer) -> None:
    start()
    start()
    eventually_sync(times(EACH_SECOND, "ran", 2), within=40)
    own_redis.kill()
    own_redis.start()
    before = len(noted(EACH_SECOND))
    eventually_sync(times(EACH_SECOND, "ran", before + 3), within=40)
    dues = [due for _, due, _, _ in noted(EACH_SECOND)]
    assert len(set(dues)) == len(dues)


def test_without_periodic_a_worker_leaves_them_alone_and_still_recovers(start: Start) -> None:
    task = api.enqueue_sync(sample_tasks.add, args=(1, 2))
    # A worker that died just now had it.
    claim = scripts.claim(
        keys.current().prefix, instance="dead", slots=1, lease=0.1, queues=["default"]
    )
    assert client.run(claim).attempts
    start("--no-periodic")
    eventually_sync(lambda: _finished(task.id), within=40)
    assert client.run(store.read(keys.current(), EACH_SECOND)) is None
    assert noted(EACH_SECOND) == []


def _finished(task_id: str) -> bool:
    found = api.find_sync(task_id)
    return found is not None and found.is_finished
