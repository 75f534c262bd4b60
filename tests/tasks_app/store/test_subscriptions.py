"""One connection carries all subscriptions: none is left behind, and no gap goes unsaid."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tasks_app.store import client, keys
from tasks_app.store.subscriptions import subscriptions
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
async def _engine(engine: None) -> AsyncIterator[None]:
    return


async def published(channel: str, message: str) -> bool:
    return bool(await client.client().publish(channel, message))


async def test_a_killed_connection_is_told_to_every_listener() -> None:
    heard: list[str | None] = []
    channel = keys.current().changes("7")
    async with subscriptions().listening(channel, heard.append):
        await client.client().client_kill_filter(_type="pubsub")

        async def told() -> bool:
            return None in heard

        await eventually(told)
        assert await published(channel, "after")

        async def hears() -> bool:
            return "after" in heard

        await eventually(hears)


async def test_cancelled_callers_leave_no_listener_and_no_subscription() -> None:
    chance = random.Random(5)  # noqa: S311 a test's seed
    held = subscriptions()

    async def listen(channel: str) -> None:
        async with held.listening(channel, lambda _: None):
            await asyncio.sleep(chance.random() * 0.01)

    for round_ in range(20):
        names = [keys.current().events(f"task-{round_}-{n % 7}") for n in range(30)]
        callers = [asyncio.create_task(listen(name)) for name in names]
        await asyncio.sleep(chance.random() * 0.005)
        for caller in callers:
            if chance.random() < 0.7:
                caller.cancel()
        if round_ % 5 == 0:
            await client.client().client_kill_filter(_type="pubsub")
        await asyncio.gather(*callers, return_exceptions=True)
    assert held._listeners == {}
    assert held._confirmed == {}
    base = keys.current().name("commands")

    async def only_the_base_is_subscribed() -> bool:
        await client.client().publish(base, "wake")  # what is stale is dropped at the next message
        return await client.client().pubsub_channels(f"{keys.current().prefix}*") == [base]

    await eventually(only_the_base_is_subscribed)


async def test_a_listener_joins_one_that_was_cancelled_while_it_asked() -> None:
    held = subscriptions()
    channel = keys.current().changes("8")
    heard: list[str | None] = []
    async with held.listening(keys.current().changes("9"), heard.append):
        async with held._lock:
            first = asyncio.create_task(held.add(channel, heard.append))
            await asyncio.sleep(0)
            second = asyncio.create_task(held.add(channel, heard.append))
            await asyncio.sleep(0)
            first.cancel()
        await second
        assert await published(channel, "x")


async def test_a_listener_comes_back_before_its_channel_was_dropped() -> None:
    channel = keys.current().changes("8")
    heard: list[str | None] = []
    for number in range(5):
        async with subscriptions().listening(channel, heard.append):
            assert await published(channel, str(number))

            async def hears(wanted: str = str(number)) -> bool:
                return wanted in heard

            await eventually(hears)


async def test_garbage_on_a_channel_does_not_end_the_reader() -> None:
    channel = keys.current().changes("8")
    heard: list[str | None] = []
    async with subscriptions().listening(channel, heard.append):
        await client.client().publish(channel, b"\xff\xfe\x00")
        await client.client().publish(channel, "after")

        async def hears() -> bool:
            return "after" in heard

        await eventually(hears)
