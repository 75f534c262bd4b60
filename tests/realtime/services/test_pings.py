"""One process' pings: written together, in order, and lost by nobody who waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime.domain.limits import MAX_MODELS
from realtime.domain.pools import Card
from realtime.services import pings as module
from realtime.services import pools
from realtime.services.membership import Membership, TooManyModels
from realtime.services.pings import Pings
from realtime.store import client, keys, sessions, usage
from tasks_app.errors import StoreUnavailable
from tests.conftest import RedisServer, point_at

pytestmark = pytest.mark.usefixtures("engine")


def card(name: str) -> Card:
    return Card(session_id=name, user_id="1", name="ada", since=0)


async def living() -> set[str]:
    _, rows = await client.arun(sessions.page(timeout=60, offset=0, limit=1000))
    return {Card.decode(text).session_id for text, _ in rows}


async def users_of() -> dict[str, int]:
    _, rows = await client.arun(usage.page(timeout=60, limit=100))
    return {model: count for model, count, _ in rows}


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many calls each round trip of the writer carried."""
    counted: list[int] = []

    async def arun_all(calls: Any) -> Any:
        counted.append(len(calls))
        return await client.arun_all(calls)

    monkeypatch.setattr(
        module, "client", type("Counting", (), {"arun_all": staticmethod(arun_all)})
    )
    return counted


async def test_pings_of_the_same_moment_share_a_round_trip_for_each_pool(trips: list[int]) -> None:
    pings = Pings()
    cards = [card(str(number)) for number in range(300)]
    for one in cards:
        pings.alive(one)
        pings.alive(one)
        pings.using(one, "m")
        written = pings.using(one, "n")
    await written
    assert trips == [1, 1]
    assert await living() == {str(number) for number in range(300)}
    assert await users_of() == {"m": 300, "n": 300}


async def test_who_left_is_not_brought_back_by_what_it_said_before() -> None:
    pings, one, other = Pings(), card("a"), card("b")
    await pings.alive(one)
    for session in (one, other):
        pings.alive(session)
        pings.using(session, "m")
    await pings.leave(one, {"m"})
    assert await living() == {"b"}
    assert await users_of() == {"m": 1}
    flying = pings.using(other, "m")
    await asyncio.sleep(0)  # the writer has begun
    while not flying.done():
        left = pings.leave(other, {"m"})
        await asyncio.sleep(0)
    await left
    assert await living() == set()
    assert await users_of() == {}


async def test_the_writer_ends_when_there_is_nothing_to_write() -> None:
    pings = Pings()
    await pings.alive(card("a"))
    before = pings._writer
    await pings.alive(card("b"))
    assert before is None or before.done() or before is pings._writer
    assert await living() == {"a", "b"}
    await asyncio.sleep(0)
    assert pings._writer is None
    assert pings._batch is None


async def test_who_waits_is_told_of_a_failure_and_the_next_is_written(
    own_redis: RedisServer, settings: Any
) -> None:
    point_at(settings, own_redis.url, "own")
    pings = Pings()
    await pings.alive(card("a"))
    own_redis.kill()
    pings.using(card("a"), "m")  # nobody waits: no complaint either
    with pytest.raises(StoreUnavailable):
        await asyncio.shield(pings.alive(card("a")))
    own_redis.start()
    await pings.alive(card("b"))
    assert "b" in await living()


async def test_one_waiter_that_gives_up_takes_nothing_from_the_others() -> None:
    first, second = Membership("a", "1", "ada"), Membership("b", "1", "ada")
    giving_up = asyncio.create_task(first.register())
    staying = asyncio.create_task(second.register())
    await asyncio.sleep(0)
    giving_up.cancel()
    await staying
    assert giving_up.cancelled()
    assert await living() == {"a", "b"}


async def test_a_session_uses_a_bounded_number_of_models_within_the_time_out() -> None:
    member = Membership("a", "1", "ada")
    await member.register()
    for number in range(MAX_MODELS):
        member.use(f"m{number}", now=100.0, timeout=3.0)
    with pytest.raises(TooManyModels):
        member.use("more", now=102.0, timeout=3.0)
    member.use("m0", now=102.0, timeout=3.0)
    await member.use("more", now=103.5, timeout=3.0)
    assert "more" in await users_of()
    await member.leave()
    await member.leave()
    assert await living() == set()
    assert "more" not in await users_of()


async def test_the_clean_up_asks_before_each_step() -> None:
    cards = [card(str(number)) for number in range(25)]
    await client.arun_all(list(sessions.ping([one.encode() for one in cards], timeout=60)))
    await client.arun_all(list(usage.ping({"m": [one.session_id for one in cards]}, timeout=60)))
    await client.arun_all(
        [
            sessions.Call(str, ("ZADD", keys.session_pool(), "XX", 1, cards[n].encode()))
            for n in range(20)
        ]
    )
    asked = 0

    async def check() -> None:
        nonlocal asked
        asked += 1

    assert await pools.clean_sessions(check, batch=10) == 20
    assert asked == 3
    assert await pools.clean_usage(check) == 0
    assert asked == 5
    assert len(await living()) == 5

    async def lost() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await pools.clean_sessions(lost)
