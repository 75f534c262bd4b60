"""Following a task's output: nothing lost, nothing twice, from any point, through any gap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from tasks_app import api
from tasks_app.errors import TaskNotFound
from tasks_app.store import client, keys, scripts
from tasks_app.worker.worker import Worker
from tests import sample_tasks

# What looks like an id more or less, and is none to Redis.
NO_IDS = (
    "nonsense",
    f"{2**64}-0",
    f"1-{2**64}",
    "99999999999999999999-0",
    "\u0661-\u0660",
    "1-1\n",
    "1" * 99,
)
WORDS = [f"w{number} " for number in range(60)]


@pytest.fixture(autouse=True)
async def _worker(worker: Worker) -> AsyncIterator[None]:
    return


async def collect(task_id: str, last: str | None = None, most: int = 10**6) -> list[api.Event]:
    events: list[api.Event] = []
    async with aclosing(api.follow(task_id, last)) as arriving:
        async for event in arriving:
            events.append(event)
            if len(events) == most:
                break
    return events


def text_of(events: list[api.Event]) -> str:
    return "".join(event.data["text"] for event in events if event.type == "token")


async def test_resuming_at_every_event_gives_the_rest_once() -> None:
    task = await api.enqueue_task(sample_tasks.talk, args=(WORDS, 0.002))
    whole = await collect(task.id)
    assert text_of(whole) == "".join(WORDS)
    for index, event in enumerate(whole):
        assert await collect(task.id, event.id) == whole[index + 1 :]


async def test_disconnecting_at_random_while_it_runs_loses_and_repeats_nothing() -> None:
    task = await api.enqueue_task(sample_tasks.talk, args=(WORDS, 0.01))
    seen: list[api.Event] = []
    chance = random.Random(7)  # noqa: S311 a test's seed
    while not seen or seen[-1].type != "end":
        last = seen[-1].id if seen else None
        seen += await collect(task.id, last, most=chance.randint(1, 4))
    assert text_of(seen) == "".join(WORDS)
    assert len({event.id for event in seen}) == len(seen)


async def test_an_unknown_id_gets_one_snapshot_and_then_each_event_once() -> None:
    task = await api.enqueue_task(sample_tasks.talk, args=(WORDS, 0.005))
    await collect(task.id, most=4)
    for unknown in ("1-1", *NO_IDS, "99999999999999-0", f"{2**64 - 1}-{2**64 - 1}"):
        events = await collect(task.id, unknown)
        assert [event.type for event in events].count("snapshot") == 1
        assert events[0].type == "snapshot"
        assert events[-1].type == "end"
        assert events[0].data["text"] + text_of(events[1:]) == "".join(WORDS)


async def test_the_script_takes_what_redis_refuses_as_an_id_for_an_unknown_one() -> None:
    task = await api.enqueue_task(sample_tasks.talk, args=(WORDS, 0.0))
    await collect(task.id)
    for unknown in NO_IDS:
        batch = await client.arun(
            scripts.read(keys.current().prefix, task_id=task.id, last=unknown)
        )
        assert batch is not None
        assert batch.snapshot is not None


async def test_a_trimmed_stream_gives_a_snapshot_from_the_beginning() -> None:
    task = await api.enqueue_task(sample_tasks.talk, args=(WORDS, 0.0))
    whole = await collect(task.id)
    await client.client().xtrim(keys.current().name("output", task.id), maxlen=1, approximate=False)
    events = await collect(task.id)
    assert [event.type for event in events] == ["snapshot", "end"]
    assert events[0].data["text"] == "".join(WORDS)
    assert await collect(task.id, whole[0].id) == events


async def test_resuming_at_the_end_ends_at_once() -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    whole = await collect(task.id)
    assert await collect(task.id, whole[-1].id) == []


async def test_many_readers_see_the_same() -> None:
    task = await api.enqueue_task(sample_tasks.talk, args=(WORDS, 0.005))
    readings = await asyncio.gather(*(collect(task.id) for _ in range(20)))
    assert all(reading == readings[0] for reading in readings)
    assert text_of(readings[0]) == "".join(WORDS)


async def test_a_lost_connection_in_the_middle_leaves_no_gap() -> None:
    task = await api.enqueue_task(sample_tasks.talk, args=(WORDS, 0.01))
    reading = asyncio.create_task(collect(task.id))
    await collect(task.id, most=5)
    killed = await client.client().client_kill_filter(_type="pubsub", skipme=True)
    assert killed >= 1
    events = await asyncio.wait_for(reading, 20)
    assert text_of(events) == "".join(WORDS)
    assert len({event.id for event in events}) == len(events)


async def test_an_unknown_task_is_not_found() -> None:
    for task_id in ("no-such-task", "../etc", ""):
        with pytest.raises(TaskNotFound):
            await collect(task_id)


async def test_wait_returns_at_its_deadline_and_at_the_end() -> None:
    task = await api.enqueue_task(sample_tasks.wait_for_stop)
    assert not (await api.wait_task(task.id, 0.05)).is_finished
    waiting = asyncio.create_task(api.wait_task(task.id, 20))
    await api.stop_task(task.id, by="alice")
    assert (await waiting).is_finished
