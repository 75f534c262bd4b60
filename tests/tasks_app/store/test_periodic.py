"""The tick script: one run per period, by Redis' clock, whoever asks and whatever is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasks_app import RedisLock
from tasks_app.store import client, keys
from tasks_app.store import periodic as store
from tasks_app.store.periodic import Holder, Tick, TickCode
from tests.support.eventually import eventually

HOUR = 3_600_000


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


def holder(
    token: str, *, job: str = "app.tasks.job", lock: str = "x", timeout: float = 30
) -> Holder:
    return Holder(job=job, lock=lock, token=token, timeout=timeout, instance=f"worker-{token}")


async def tick(
    who: Holder,
    *,
    period: int | None = HOUR,
    moments: tuple[int, int] = (0, 0),
    latest: int | None = None,
) -> Tick:
    call = store.tick(keys.current(), who, period_ms=period, moments=moments, latest_ms=latest)
    return await client.arun(call)


async def end(who: Holder, error: str = "") -> bool:
    return await client.arun(store.end(keys.current(), who, error=error))


async def kept(job: str = "app.tasks.job") -> dict[str, Any]:
    text = await client.client().hget(keys.current().name("periodic"), job)
    found: dict[str, Any] = json.loads(text)
    return found


async def change(**fields: Any) -> None:
    """Let the past have been different."""
    job = {**await kept(), **fields}
    await client.client().hset(keys.current().name("periodic"), "app.tasks.job", json.dumps(job))


async def now() -> int:
    return await client.arun(store.clock(keys.current()))


async def test_a_new_job_runs_at_once_and_once_in_its_period() -> None:
    first = await tick(holder("a"))
    assert (first.code, first.due) == (TickCode.GRANTED, first.now)
    assert first.again == first.due + HOUR
    await end(holder("a"))
    for token in "abc":
        again = await tick(holder(token))
        assert (again.code, again.again) == (TickCode.NOT_DUE, first.again)


async def test_of_many_who_ask_at_once_one_is_granted() -> None:
    answers = await asyncio.gather(*(tick(holder(str(number))) for number in range(30)))
    assert [answer.code for answer in answers].count(TickCode.GRANTED) == 1


async def test_periods_are_counted_from_the_first_run() -> None:
    first = await tick(holder("a"))
    await end(holder("a"))
    since = first.due - 5 * HOUR - 60_000
    await change(since=since, last=since + 4 * HOUR)
    assert (await tick(holder("b"))).due == since + 5 * HOUR


async def test_missed_periods_are_made_up_for_by_one_run() -> None:
    await tick(holder("a"))
    await end(holder("a"))
    since = await now() - 50 * HOUR - 1_800_000
    await change(since=since, last=since + HOUR)
    caught_up = await tick(holder("b"))
    assert (caught_up.code, caught_up.due) == (TickCode.GRANTED, since + 50 * HOUR)
    await end(holder("b"))
    assert (await tick(holder("c"))).code is TickCode.NOT_DUE


async def test_without_catching_up_a_missed_period_is_skipped() -> None:
    await tick(holder("a"))
    await end(holder("a"))
    since = await now() - 50 * HOUR - 1_800_000
    await change(since=since, last=since + HOUR)
    skipped = await tick(holder("b"), latest=10_000)
    assert (skipped.code, skipped.again) == (TickCode.NOT_DUE, since + 51 * HOUR)
    in_time = await now() - 50 * HOUR - 5_000
    await change(since=in_time, last=in_time + HOUR)
    assert (await tick(holder("b"), latest=10_000)).code is TickCode.GRANTED


async def test_a_new_cron_job_waits_for_its_next_moment() -> None:
    at = await now()
    moments = (at - 60_000, at + 60_000)
    first = await tick(holder("a"), period=None, moments=moments)
    assert (first.code, first.again) == (TickCode.NOT_DUE, moments[1])
    await change(last=at - 120_000)  # as if the next moment had come meanwhile
    granted = await tick(holder("a"), period=None, moments=moments)
    assert (granted.code, granted.due) == (TickCode.GRANTED, moments[0])


@pytest.mark.parametrize("shift", [-HOUR, HOUR])
async def test_moments_from_a_wrong_clock_are_refused(shift: int) -> None:
    at = await now() + shift
    answer = await tick(holder("a"), period=None, moments=(at - 60_000, at + 60_000))
    assert answer.code is TickCode.OUTDATED
    assert abs(answer.now - (at - shift)) < 60_000
    assert not await client.client().exists(keys.current().name("periodic"))


async def test_a_job_waits_for_its_lock_whoever_has_it() -> None:
    lock = RedisLock("x", timeout=30)
    assert await lock.acquire()
    locked = await tick(holder("a"))
    assert locked.code is TickCode.LOCKED
    assert 0 < locked.again - locked.now <= 30_000
    fence = lock.fence
    await lock.release()
    granted = await tick(holder("a"))
    assert granted.code is TickCode.GRANTED
    assert granted.fence > fence
    assert not await RedisLock("x").acquire()
    assert (await tick(holder("b", job="app.tasks.other"))).code is TickCode.LOCKED
    assert await end(holder("a"))
    assert await RedisLock("x").acquire()


async def test_a_grant_whose_answer_was_lost_is_given_again() -> None:
    first = await tick(holder("a", timeout=0.05))
    again = await tick(holder("a", timeout=0.05))
    assert (again.code, again.due) == (TickCode.GRANTED, first.due)
    await eventually(lambda: _expired("x"))
    late = await tick(holder("a"))
    assert (late.code, late.due) == (TickCode.GRANTED, first.due)
    assert (await kept())["runs"] == 1


async def _expired(lock: str) -> bool:
    return not await client.client().exists(keys.current().name("lock", lock))


async def test_a_run_that_was_never_ended_counts_as_failed_when_the_next_begins() -> None:
    await tick(holder("dead", timeout=0.05), period=100)

    async def taken_over() -> bool:
        return (await tick(holder("b"), period=100)).code is TickCode.GRANTED

    await eventually(taken_over)
    found = await kept()
    assert (found["runs"], found["failures"], found["instance"]) == (2, 1, "worker-b")
    assert "worker died" in found["error"]
    assert not await end(holder("dead"), "too late")
    assert (await kept())["failures"] == 1


async def test_an_end_is_recorded_once() -> None:
    await tick(holder("a"))
    assert await end(holder("a"), "ValueError: no")
    assert not await end(holder("a"), "ValueError: no")
    found = await kept()
    assert (found["runs"], found["failures"], found["error"]) == (1, 1, "ValueError: no")
    assert found["duration"] >= 0
    assert "token" not in found


async def test_a_clock_that_was_set_back_stops_a_job_for_a_period_at_most() -> None:
    await tick(holder("a"))
    await end(holder("a"))
    future = await now() + 1000 * HOUR
    await change(since=future, last=future)
    answer = await tick(holder("a"))
    assert answer.code is TickCode.NOT_DUE
    assert answer.again - answer.now <= HOUR
    assert (await kept())["last"] <= answer.now


@pytest.mark.parametrize(
    "damage", ["", "null", "[1", '"text"', "[1]", '{"last": "x", "since": {}}']
)
async def test_damaged_figures_count_as_none(damage: str) -> None:
    await client.client().hset(keys.current().name("periodic"), "app.tasks.job", damage)
    assert (await tick(holder("a"))).code is TickCode.GRANTED
    await client.client().hset(keys.current().name("periodic"), "app.tasks.job", damage)
    assert await client.arun(store.read(keys.current(), "app.tasks.job")) is None or "{" in damage
    await end(holder("a"))
    assert await _expired("x")


async def test_figures_of_jobs_that_nobody_asks_for_are_removed() -> None:
    await tick(holder("a"))
    await end(holder("a"))
    await tick(holder("b", job="app.tasks.gone", lock="y"))
    gone = await kept("app.tasks.gone")
    gone["seen"] -= 8 * 24 * HOUR
    name = keys.current().name("periodic")
    await client.client().hset(name, "app.tasks.gone", json.dumps(gone))
    await client.client().hset(name, "damaged", "[")
    removed = await client.arun(store.forget(keys.current(), unseen=7 * 86_400))
    assert sorted(removed) == ["app.tasks.gone", "damaged"]
    assert await client.client().hkeys(name) == ["app.tasks.job"]
