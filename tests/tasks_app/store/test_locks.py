"""The distributed lock: one owner, an expiry, a growing fence, nothing left by a cancellation."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tasks_app import RedisLock
from tasks_app.errors import InvalidName, LockLost
from tasks_app.store import client, keys
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


def key(name: str) -> str:
    return keys.current().name("lock", name)


async def test_only_one_has_it_and_only_the_owner_gives_it_back() -> None:
    mine, theirs = RedisLock("clean"), RedisLock("clean")
    assert await mine.acquire()
    assert not await theirs.acquire()
    assert not await theirs.release()
    assert not await theirs.renew()
    assert await mine.renew()
    assert await mine.release()
    assert await theirs.acquire()


async def test_fences_of_all_locks_grow() -> None:
    fences = []
    for name in ("a", "b", "a"):
        lock = RedisLock(name)
        assert await lock.acquire()
        fences.append(lock.fence)
        await lock.release()
    assert fences == sorted(set(fences))


async def test_an_expired_lock_is_free_and_its_old_owner_powerless() -> None:
    old, new = RedisLock("x", timeout=0.05), RedisLock("x")
    assert await old.acquire()
    assert await new.acquire(wait=5)
    assert new.fence > 0
    assert not await old.renew()
    assert not await old.release()
    assert await new.renew()


async def test_waiting_ends_at_its_deadline_and_when_the_lock_is_released() -> None:
    mine, theirs = RedisLock("x"), RedisLock("x")
    await mine.acquire()
    assert not await theirs.acquire(wait=0.05)
    waiting = asyncio.create_task(theirs.acquire(wait=10))
    await asyncio.sleep(0)
    await mine.release()
    assert await waiting


async def test_the_block_renews_for_as_long_as_it_runs() -> None:
    async with RedisLock("x", timeout=0.3) as lock:
        beaten = 0
        last = await client.client().pttl(key("x"))

        async def renewed() -> bool:
            nonlocal beaten, last
            left = await client.client().pttl(key("x"))
            beaten += left > last
            last = left
            return beaten >= 3

        await eventually(renewed)
        assert not await RedisLock("x").acquire()
        assert lock.fence > 0
    assert await client.client().exists(key("x")) == 0


async def test_a_lost_lock_cancels_the_block_and_says_so() -> None:
    async def hold() -> None:
        async with RedisLock("x", timeout=0.15):
            await client.client().set(key("x"), "somebody else")
            await asyncio.Event().wait()

    with pytest.raises(LockLost):
        await hold()
    assert await client.client().get(key("x")) == "somebody else"


async def test_a_cancellation_from_outside_stays_a_cancellation() -> None:
    entered = asyncio.Event()

    async def hold() -> None:
        async with RedisLock("x"):
            entered.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await entered.wait()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert await client.client().exists(key("x")) == 0


async def test_a_cancelled_acquisition_leaves_no_lock() -> None:
    chance = random.Random(3)  # noqa: S311 a test's seed
    for _ in range(100):
        acquiring = asyncio.create_task(RedisLock("x").acquire())
        for _ in range(chance.randint(0, 12)):
            await asyncio.sleep(0)
        if not acquiring.done():
            acquiring.cancel()
        try:
            got = await acquiring
        except asyncio.CancelledError:
            assert await client.client().exists(key("x")) == 0
        else:
            assert got
            await client.client().delete(key("x"))


async def test_never_two_owners_at_once() -> None:
    inside = 0

    async def work() -> None:
        nonlocal inside
        async with RedisLock("x", timeout=5):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(20)))


@pytest.mark.parametrize("name", ["", "a b", "a" * 101, "é", "a\n"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        RedisLock(name)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_lock_without_an_end_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        RedisLock("x", timeout=timeout)


async def test_coroutines_that_share_one_object_exclude_each_other(engine: None) -> None:
    lock = RedisLock("shared")
    inside = 0

    async def enter() -> None:
        nonlocal inside
        async with lock:
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(4)))
    assert await RedisLock("shared").acquire()
