"""A worker's periodic jobs: once per period among all workers, and nothing ends them for ever."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.exceptions import RedisError

from tasks_app.domain.periodic import Run
from tasks_app.domain.schedule import Schedule
from tasks_app.errors import LockLost, StoreUnavailable
from tasks_app.periodic_jobs import PeriodicJob
from tasks_app.store import client, keys
from tasks_app.store import periodic as store
from tasks_app.worker import periodic as service_module
from tasks_app.worker import periodic_run
from tasks_app.worker.periodic import PeriodicService
from tests.conftest import RedisServer, point_at
from tests.periodic_app.tasks import note
from tests.support.eventually import eventually

LOCK = "test-lock"


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


@contextlib.asynccontextmanager
async def serving(*jobs: PeriodicJob, name: str = "w") -> AsyncIterator[PeriodicService]:
    service = PeriodicService(jobs, instance=name)
    stopping = asyncio.Event()
    running = asyncio.create_task(service.run(stopping))
    try:
        yield service
    finally:
        stopping.set()
        await running


def job(function: Any, *, every: float = 0.1, lock_timeout: float = 5, **more: Any) -> PeriodicJob:
    return PeriodicJob(
        function=function,
        schedule=Schedule(every=every),
        lock=LOCK,
        lock_timeout=lock_timeout,
        **more,
    )


async def noted(of: PeriodicJob) -> list[list[str]]:
    name = f"{keys.current().prefix}noted:{of.name}"
    return [line.split() for line in await client.client().lrange(name, 0, -1)]


async def count(of: PeriodicJob, event: str) -> int:
    return [line[0] for line in await noted(of)].count(event)


def happened(of: PeriodicJob, event: str, times: int = 1) -> Callable[[], Any]:
    async def check() -> bool:
        try:
            return await count(of, event) >= times
        except RedisError:  # it is just coming back
            return False

    return check


async def figures(of: PeriodicJob) -> dict[str, Any]:
    text = await client.client().hget(keys.current().name("periodic"), of.name)
    found: dict[str, Any] = json.loads(text or "{}")
    return found


def counted(of: PeriodicJob, **least: int) -> Callable[[], Any]:
    async def check() -> bool:
        try:
            found = await figures(of)
        except RedisError:  # it is just coming back
            return False
        return all(found.get(name, 0) >= number for name, number in least.items())

    return check


def lock_key() -> str:
    return keys.current().name("lock", LOCK)


# --- the functions ------------------------------------------------------------------------------


async def run_shortly(run: Run) -> None:
    await note(run)


async def hold(run: Run) -> None:
    await note(run, "began")
    try:
        await asyncio.Event().wait()
    finally:
        await note(run, "ended")


THREADS: list[str] = []


def run_in_thread(run: Run) -> None:
    THREADS.append(threading.current_thread().name)
    run.check_sync()


def hold_thread(run: Run) -> None:
    THREADS.append("began")
    while not run.cancelled:
        time.sleep(0.01)
    THREADS.append("ended")


async def without_run() -> None:
    THREADS.append("without")


async def fail() -> None:
    raise ValueError("the reason")


async def leave() -> None:
    sys.exit("gone")


async def cancel_itself() -> None:
    raise asyncio.CancelledError


RELEASED: list[asyncio.Event] = []  # an event belongs to one test's loop


async def ignore_everything(run: Run) -> None:
    await note(run, "began")
    while not RELEASED[-1].is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await RELEASED[-1].wait()


async def destroy_after_loss(run: Run) -> None:
    await note(run, "began")
    await client.client().set(lock_key(), "somebody else", px=300)
    try:
        await run.check()
    except LockLost:
        await note(run, "refused")
        raise
    await note(run, "destroyed")


# --- works --------------------------------------------------------------------------------------


async def test_two_workers_run_each_period_once() -> None:
    each = job(run_shortly, every=0.2)
    async with serving(each, name="a"), serving(each, name="b"):
        await eventually(happened(each, "ran", 12), within=20)
    ran = [(int(due), int(fence)) for _, due, fence, _ in await noted(each)]
    assert len({due for due, _ in ran}) == len(ran)
    assert {(due - ran[0][0]) % 200 for due, _ in ran} == {0}
    assert ran == sorted(ran)  # later periods, higher fences
    # A run that the shutdown cancelled counts, and may not have come to note anything.
    assert (await figures(each))["runs"] - len(ran) in {0, 1}
    assert not await client.client().exists(lock_key())


async def test_synchronous_functions_run_in_the_pool() -> None:
    THREADS.clear()
    each = job(run_in_thread)
    async with serving(each):
        await eventually(counted(each, runs=2))
    assert {name.rpartition("_")[0] for name in THREADS} == {"signalbox-periodic"}
    assert (await figures(each)).get("failures", 0) == 0


async def test_a_function_without_an_argument_is_called_without() -> None:
    THREADS.clear()
    async with serving(job(without_run)):
        await eventually(lambda: _true(THREADS))
    assert THREADS[0] == "without"


async def _true(value: object) -> bool:
    return bool(value)


async def test_a_cron_job_runs_when_its_moment_has_come() -> None:
    each = PeriodicJob(function=run_shortly, schedule=Schedule(cron="* * * * *"), lock=LOCK)

    async def asked() -> bool:
        return bool(await figures(each))

    async with serving(each) as service:
        await eventually(asked)
        # As if its last moment had come while it was known already.
        kept = await figures(each)
        kept["last"] -= 60_000
        await client.client().hset(keys.current().name("periodic"), each.name, json.dumps(kept))
        service._entries[0].ask_at = 0.0
        service._wake.set()
        await eventually(happened(each, "ran"))
    due = int((await noted(each))[0][1])
    assert due % 60_000 == 0


async def test_jobs_with_one_lock_take_turns() -> None:
    one, other = job(hold, every=0.1), job(run_shortly, every=0.1)
    async with serving(one), serving(other):
        await eventually(happened(one, "began"), within=10)
        before = await count(other, "ran")
        await eventually(counted(other, seen=(await figures(one))["started"]))
        await client.client().set(lock_key(), "nobody", px=50)  # `one` loses it
        await eventually(happened(one, "ended"))
        await eventually(happened(other, "ran", before + 1), within=10)


# --- the lock -----------------------------------------------------------------------------------


async def test_a_run_longer_than_its_lock_keeps_it() -> None:
    # Long enough for a loop that gets no processor for a while, and short enough to wait for.
    each = job(hold, every=0.1, lock_timeout=1.5)
    async with serving(each, name="a"), serving(each, name="b"):
        await eventually(happened(each, "began"))
        owner = await client.client().get(lock_key())
        begun = await client.arun(_clock())

        async def two_lock_times_later() -> bool:
            assert await client.client().get(lock_key()) == owner
            return bool(await client.arun(_clock()) - begun > 3200)

        await eventually(two_lock_times_later, within=20)
        assert await count(each, "began") == 1


def _clock() -> Any:
    return store.clock(keys.current())


async def test_a_lost_lock_cancels_the_run() -> None:
    each = job(hold, lock_timeout=0.3)
    async with serving(each):
        await eventually(happened(each, "began"))
        await client.client().set(lock_key(), "somebody else", px=400)
        await eventually(happened(each, "ended"))
        await eventually(happened(each, "began", 2))
    found = await figures(each)
    assert found["failures"] >= 1
    assert "LockLost" in found["error"]


async def test_a_destructive_step_is_refused_without_the_lock() -> None:
    each = job(destroy_after_loss, lock_timeout=30)
    async with serving(each):
        await eventually(counted(each, failures=1))
    assert await count(each, "refused") >= 1
    assert await count(each, "destroyed") == 0


# --- survives -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "error"),
    [(fail, "ValueError: the reason"), (leave, "SystemExit"), (cancel_itself, "CancelledError")],
)
async def test_whatever_the_function_raises_its_next_period_comes(
    function: Any, error: str
) -> None:
    each = job(function)
    async with serving(each):
        await eventually(counted(each, failures=3))
    found = await figures(each)
    assert found["failures"] == found["runs"]
    assert found["error"].startswith(error)


async def test_a_run_ends_at_its_time_out() -> None:
    each = job(hold, timeout=0.05)
    async with serving(each):
        await eventually(counted(each, failures=2))
    assert (await figures(each))["error"].startswith("TimeoutError: It ran longer")


async def test_it_survives_being_refused_to_begin() -> None:
    each = job(run_shortly)
    await client.client().set(keys.current().name("periodic"), "of the wrong type")
    async with serving(each) as service:
        first = service._entries[0].token
        await eventually(lambda: _true(service._entries[0].ask_at))
        assert service._entries[0].token == first
        await client.client().delete(keys.current().name("periodic"))
        await eventually(happened(each, "ran"))


async def test_it_survives_a_renewal_that_fails() -> None:
    each = job(hold, lock_timeout=0.5)
    async with serving(each):
        await eventually(happened(each, "began"))
        await client.client().delete(lock_key())
        await client.client().hset(lock_key(), "of", "the wrong type")
        await eventually(happened(each, "ended"))
        await client.client().delete(lock_key())
        await eventually(happened(each, "began", 2))


async def test_it_survives_an_end_that_is_refused() -> None:
    each = job(ignore_everything, every=0.5)
    RELEASED.append(asyncio.Event())
    async with serving(each):
        await eventually(happened(each, "began"))
        name = keys.current().name("periodic")
        kept = await client.client().hgetall(name)
        await client.client().delete(name)
        await client.client().set(name, "of the wrong type")
        RELEASED[-1].set()
        await eventually(lambda: _free(lock_key()))
        await client.client().delete(name)
        await client.client().hset(name, mapping=kept)
        await eventually(counted(each, runs=2))
        await eventually(lambda: _duration(each))


async def _free(key: str) -> bool:
    return not await client.client().exists(key)


async def _duration(of: PeriodicJob) -> bool:
    return "duration" in await figures(of)


async def test_it_survives_a_bug_in_one_jobs_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Schedule):
        @property
        def period_ms(self) -> int | None:
            raise ZeroDivisionError

    broken = PeriodicJob(function=run_in_thread, schedule=Broken(every=0.1))
    fine = job(run_shortly)
    async with serving(broken, fine):
        await eventually(happened(fine, "ran", 3))


# --- Redis away ---------------------------------------------------------------------------------


async def test_redis_away_before_it_begins(own_redis: RedisServer, settings: Any) -> None:
    point_at(settings, own_redis.url, "away")
    own_redis.kill()
    each = job(run_shortly)
    async with serving(each) as service:
        await eventually(lambda: _true(service._is_away), within=10)
        own_redis.start()
        await eventually(happened(each, "ran", 2), within=20)


async def test_redis_restarted_while_a_job_runs(own_redis: RedisServer, settings: Any) -> None:
    point_at(settings, own_redis.url, "away")
    each = job(hold, lock_timeout=30)
    async with serving(each):
        await eventually(happened(each, "began"))
        own_redis.kill()
        own_redis.start()
        await eventually(_answers, within=10)
    # It had the lock all the time, went on, and released it at the end.
    assert await count(each, "began") == 1
    assert await count(each, "ended") == 1
    assert await _free(lock_key())


async def test_redis_away_for_longer_than_the_lock(own_redis: RedisServer, settings: Any) -> None:
    point_at(settings, own_redis.url, "away")
    each = job(silent, lock_timeout=0.6)
    ENDED.clear()
    async with serving(each):
        await eventually(counted(each, runs=1))
        own_redis.kill()
        await eventually(lambda: _true(ENDED), within=10)  # without Redis it cannot know better
        own_redis.start()
        await eventually(counted(each, runs=2), within=20)


ENDED: list[str] = []


async def silent(run: Run) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ENDED.append(run.name)


async def _answers() -> bool:
    try:
        return bool(await client.arun(_clock()))
    except StoreUnavailable:
        return False


# --- the end ------------------------------------------------------------------------------------


async def test_at_shutdown_runs_are_cancelled_and_locks_released() -> None:
    THREADS.clear()
    one = job(hold)
    other = PeriodicJob(function=hold_thread, schedule=Schedule(every=0.1), lock="thread")
    async with serving(one, other) as service:
        await eventually(happened(one, "began"))
        await eventually(lambda: _true(THREADS))
    assert not service.is_leaving_work_behind
    assert await count(one, "ended") == 1
    assert THREADS == ["began", "ended"]
    assert await _free(lock_key())
    assert await _free(keys.current().name("lock", "thread"))
    assert (await figures(one)).get("failures", 0) == 0


async def test_a_function_that_ignores_shutdown_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_module, "LEAVE_SECONDS", 0.1)
    monkeypatch.setattr(periodic_run, "REPORT_SECONDS", 0.1)
    RELEASED.append(asyncio.Event())
    each = job(ignore_everything)
    async with serving(each) as service:
        await eventually(happened(each, "began"))
    assert service.is_leaving_work_behind
    assert not await _free(lock_key())  # nobody else runs it while it goes on here
    RELEASED[-1].set()
    await eventually(lambda: _true(not service.is_leaving_work_behind))
    assert await _free(lock_key())
