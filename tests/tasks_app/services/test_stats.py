"""The counts: what waits and since when, what runs, what ended, who works."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks_app import api
from tasks_app.domain.stats import Lag
from tasks_app.store import client, keys, scripts
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually
from tests.tasks_app.services.test_retry import claim, enqueue, failed

HOUR_MS = 3_600_000


def redis(command: str, *args: Any) -> Any:
    return client.run(scripts.Call(lambda reply: reply, (command, *args)))


def now() -> int:
    seconds, micros = redis("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def test_nothing_is_counted_where_nothing_is() -> None:
    stats = api.read_stats_sync()
    assert (stats.queues, stats.workers, stats.failed) == ((), (), 0)
    assert stats.finished_per_minute == {1: 0.0, 5: 0.0, 60: 0.0}
    json.dumps(stats.resource())


def test_queues_name_their_oldest_task_across_priorities() -> None:
    old = enqueue(priority=-3)
    for priority in (100, 100, 0, -3, -100):
        enqueue(priority=priority)
    enqueue(queue="other")
    redis("HSET", keys.current().task(old), "created", now() - HOUR_MS)
    default, other = api.read_stats_sync().queues
    assert (default.name, default.waiting, other.name, other.waiting) == ("default", 6, "other", 1)
    assert 3600 <= default.oldest_s < 3700
    assert other.oldest_s < 3600


def test_a_task_waits_since_it_was_due() -> None:
    task_id = enqueue()
    redis("HSET", keys.current().task(task_id), "created", 1, "due", now() - HOUR_MS)
    [queue] = api.read_stats_sync().queues
    assert 3600 <= queue.oldest_s < 3700


def test_what_is_scheduled_held_back_running_and_being_stopped() -> None:
    limited = sample_tasks.add.using(concurrency_key="one", concurrency=1)
    for _ in range(3):
        enqueue(limited)
    runs = [enqueue(), enqueue()]
    assert len(claim()) == 3
    api.stop_task_sync(runs[0], by="ada")
    api.enqueue_sync(sample_tasks.add.using(debounce=60, debounce_key="later"), args=(1, 2))
    stats = api.read_stats_sync()
    counted = (stats.scheduled, stats.held, stats.running, stats.canceling, stats.queues)
    assert counted == (1, 2, 2, 1, ())


def test_finished_tasks_are_counted_by_minutes() -> None:
    ids = [failed() for _ in range(4)]
    redis("ZADD", keys.current().name("finished"), now() - 120_000, ids[0])
    redis("ZADD", keys.current().name("finished"), now() - 1_800_000, ids[1])
    redis("ZADD", keys.current().name("finished"), now() - 2 * HOUR_MS, ids[2])
    stats = api.read_stats_sync()
    assert stats.finished_per_minute == {1: 1.0, 5: 2 / 5, 60: 3 / 60}
    assert stats.failed == 4


def test_a_span_that_is_not_kept_is_not_counted(settings: Any) -> None:
    settings.TASK_RETENTION_SECONDS = 400.0
    assert api.read_stats_sync().finished_per_minute == {1: 0.0, 5: 0.0, 60: None}


async def test_a_worker_describes_itself_and_leaves_nothing(engine: None) -> None:
    async with running(Worker(queues=("a", "default"), concurrency=7, name="desk")) as worker:
        await api.enqueue_task(sample_tasks.wait_for_stop)

        async def described() -> bool:
            stats = await api.read_stats()
            assert stats.workers
            return stats.workers[0].running == 1

        await eventually(described)
        [shown] = (await api.read_stats()).workers
        assert (shown.instance, shown.queues) == (worker.instance, ("a", "default"))
        assert (shown.concurrency, shown.running) == (7, 1)
        assert shown.pid > 0
        assert shown.started_at is not None
        assert isinstance(shown.lag, Lag)
        assert shown.silent_s < 15
        assert (await api.read_stats()).resource()["workers"][0]["lag"].keys() == {
            "p50_ms", "p99_ms", "worst_ms",
        }  # fmt: skip
    assert (await api.read_stats()).workers == ()
    assert not await client.client().exists(keys.current().name("worker_facts"))


async def test_a_dead_workers_facts_go_with_it(engine: None) -> None:
    prefix = keys.current().prefix
    call = scripts.renew(prefix, instance="w", lease=1, leases=[], facts='{"queues":[]}')
    await client.arun(call)
    assert await client.client().hkeys(keys.current().name("worker_facts")) == ["w"]
    await client.client().zadd(keys.current().name("workers"), {"w": 1})
    await client.arun(scripts.reap(prefix, lease=1))
    assert not await client.client().exists(keys.current().name("worker_facts"))


@pytest.mark.parametrize(
    "facts", ["", "{", "[]", "{}", '{"queues": 3}', '{"queues": [], "lag": {"odd": 1}}', "null"]
)
def test_a_worker_of_another_version_has_a_name_at_least(facts: str) -> None:
    redis("ZADD", keys.current().name("workers"), now(), "w")
    redis("HSET", keys.current().name("worker_facts"), "w", facts)
    [worker] = api.read_stats_sync().workers
    assert (worker.instance, worker.queues, worker.lag) == ("w", (), None)


def test_damaged_records_hide_no_counts() -> None:
    first, second = enqueue(), enqueue()
    redis("DEL", keys.current().task(first))
    redis("SET", keys.current().task(first), "no hash")
    redis("HSET", keys.current().task(second), "created", "x")
    [queue] = api.read_stats_sync().queues
    assert queue.waiting == 2
