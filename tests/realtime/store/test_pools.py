"""What the pools' scripts promise, on a real Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from realtime.store import client, keys, sessions, usage
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("engine")

LONG = 60.0
SHORT = 0.05


@pytest.fixture
async def raw(redis_url: str) -> Any:
    with redis.Redis.from_url(redis_url, decode_responses=True) as connection:
        yield connection


async def ping(*cards: str, lasts: float = LONG) -> None:
    await client.arun_all(list(sessions.ping(cards, timeout=lasts)))


async def use(model: str, *ids: str, lasts: float = LONG) -> None:
    await client.arun_all(list(usage.ping({model: ids}, timeout=lasts)))


async def leave(*pairs: tuple[str, str]) -> None:
    await client.arun_all(list(usage.leave(pairs)))


async def in_use() -> list[str]:
    return (await client.arun(usage.models(timeout=LONG)))[1]


async def users_of() -> dict[str, int]:
    _, rows = await client.arun(usage.page(timeout=LONG, limit=100))
    return {model: count for model, count, _ in rows}


def age(raw: Any, key: str, *members: str, by: int = 10_000_000) -> None:
    """Make members look as if they had been heard of long ago."""
    for member in members:
        raw.zincrby(key, -by, member)


# --- sessions ------------------------------------------------------------------------------------


async def test_a_ping_registers_and_repeating_it_changes_only_the_time(raw: Any) -> None:
    await ping("a", "b")
    first = dict(raw.zrange(keys.session_pool(), 0, -1, withscores=True))
    age(raw, keys.session_pool(), "a", by=1000)
    await ping("a")
    assert raw.zscore(keys.session_pool(), "a") >= first["a"]
    count, page = await client.arun(sessions.page(timeout=LONG, offset=0, limit=10))
    assert count == 2
    assert {card for card, _ in page} == {"a", "b"}


async def test_more_than_a_batch_is_written_and_read_by_pages() -> None:
    cards = [f"card-{number}" for number in range(2500)]
    assert len(list(sessions.ping(cards, timeout=LONG))) == 3
    await ping(*cards)
    seen: set[str] = set()
    for offset in range(0, 2500, 500):
        count, page = await client.arun(sessions.page(timeout=LONG, offset=offset, limit=500))
        assert (count, len(page)) == (2500, 500)
        seen |= {card for card, _ in page}
    assert seen == set(cards)
    await client.arun_all(list(sessions.leave(cards)))
    assert await client.arun(sessions.page(timeout=LONG, offset=0, limit=1)) == (0, [])


async def test_who_was_not_heard_of_is_not_counted_and_goes_in_bounded_steps(raw: Any) -> None:
    old = [f"old-{number}" for number in range(25)]
    await ping(*old, "young")
    age(raw, keys.session_pool(), *old)
    count, page = await client.arun(sessions.page(timeout=LONG, offset=0, limit=100))
    assert (count, [card for card, _ in page]) == (1, ["young"])
    steps = [await client.arun(sessions.expire(timeout=LONG, limit=10)) for _ in range(4)]
    assert steps == [10, 10, 5, 0]
    assert raw.zrange(keys.session_pool(), 0, -1) == ["young"]


async def test_a_pool_without_pings_goes_by_itself(raw: Any) -> None:
    await ping("a", lasts=SHORT)
    await use("m", "a", lasts=SHORT)

    async def is_gone() -> bool:
        return not raw.keys(f"{keys.session_pool()}*") + raw.keys(f"{keys.usage_pool()}*")

    await eventually(is_gone)


# --- usage ---------------------------------------------------------------------------------------


async def test_each_session_counts_once_per_model() -> None:
    await use("m", "a", "b")
    await use("m", "b", "c")
    await use("n", "a")
    assert await users_of() == {"m": 3, "n": 1}
    assert sorted(await in_use()) == ["m", "n"]


@pytest.mark.parametrize("model", ["a b", "{x}", "ä😀", "a:b:changes", "x" * 500, "\x00"])
async def test_a_model_id_is_any_text(model: str) -> None:
    await use(model, "a")
    assert await in_use() == [model]
    await leave((model, "a"))
    assert await in_use() == []


async def test_concurrent_pings_of_one_model_are_all_counted() -> None:
    await asyncio.gather(*(use("m", f"session-{number}") for number in range(200)))
    assert await users_of() == {"m": 200}


async def test_many_sessions_of_one_model_need_several_calls() -> None:
    ids = [f"session-{number}" for number in range(2500)]
    assert len(list(usage.ping({"m": ids, "n": ids[:3]}, timeout=LONG))) == 3
    await client.arun_all(list(usage.ping({"m": ids, "n": ids[:3]}, timeout=LONG)))
    assert await users_of() == {"m": 2500, "n": 3}


async def test_a_model_is_in_use_until_its_last_session_leaves(raw: Any) -> None:
    await use("m", "a", "b")
    await leave(("m", "a"), ("m", "stranger"), ("unknown", "a"))
    assert await users_of() == {"m": 1}
    await leave(("m", "b"))
    assert await in_use() == []
    assert raw.keys(f"{keys.usage_pool()}*") == []


async def test_leaving_brings_the_model_back_to_its_other_sessions_last_ping(raw: Any) -> None:
    await use("m", "dead")
    age(raw, f"{keys.usage_pool()}:m", "dead")
    await use("m", "alive")
    assert await users_of() == {"m": 1}
    await leave(("m", "alive"))
    assert await in_use() == []


async def test_it_says_when_the_first_use_may_time_out(raw: Any) -> None:
    assert await client.arun(usage.models(timeout=LONG)) == (None, [])
    await use("m", "a")
    await use("n", "a")
    age(raw, keys.usage_pool(), "m", by=20_000)
    valid_for, models = await client.arun(usage.models(timeout=LONG))
    assert valid_for is not None
    assert 0 < valid_for <= LONG - 20
    assert models == ["n", "m"]


async def test_stale_uses_go_in_bounded_steps_and_fresh_ones_stay(raw: Any) -> None:
    pool = keys.usage_pool()
    dead = [f"dead-{number}" for number in range(25)]
    for model in ("m", "n"):
        await use(model, *dead, "alive")
        age(raw, f"{pool}:{model}", *dead)
    await use("forgotten", "x")
    age(raw, pool, "forgotten")
    removed: list[int] = []
    at: int | None = 0
    while at is not None:
        count, at = await client.arun(usage.expire(timeout=LONG, offset=at, limit=10))
        removed.append(count)
    assert sum(removed) == 51
    assert max(removed) == 10
    assert raw.zrange(f"{pool}:m", 0, -1) == raw.zrange(f"{pool}:n", 0, -1) == ["alive"]
    assert sorted(raw.zrange(pool, 0, -1)) == ["m", "n"]


async def test_expiry_goes_through_more_models_than_one_step_looks_at(raw: Any) -> None:
    for number in range(250):
        await use(f"model-{number}", "dead", "alive")
        age(raw, f"{keys.usage_pool()}:model-{number}", "dead")
    removed, steps = 0, 0
    at: int | None = 0
    while at is not None:
        count, at = await client.arun(usage.expire(timeout=LONG, offset=at))
        removed, steps = removed + count, steps + 1
    assert removed == 250
    assert steps >= 3


# --- hints ---------------------------------------------------------------------------------------


async def test_a_hint_comes_when_the_models_in_use_may_have_changed(raw: Any) -> None:
    heard: list[str | None] = []

    async def has_heard(count: int) -> bool:
        return len(heard) >= count

    async with usage.listening(heard.append):
        await use("m", "a")
        await eventually(lambda: has_heard(1))
        await use("m", "a", "b")  # in use already: nothing to say
        await leave(("m", "stranger"))  # never was there
        await use("n", "a")
        await eventually(lambda: has_heard(2))
        age(raw, keys.usage_pool(), "n")
        await use("n", "a")  # had timed out: in use again
        await eventually(lambda: has_heard(3))
        await leave(("m", "a"))
        await eventually(lambda: has_heard(4))
    assert heard == ["", "", "", ""]
