"""Sessions and usage on one server, with Sentinels and on a Cluster alike."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from realtime.domain.pools import Card
from realtime.services import pools
from realtime.services.pings import Pings
from realtime.store import client, keys, usage
from realtime.store.scripts import Call
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("engine_there")


async def no_check() -> None:
    return


async def test_sessions_and_usage_come_and_go(settings: Any) -> None:
    settings.USAGE_TIMEOUT_SECONDS = 60
    pings, hints = Pings(), list[str | None]()
    cards = [Card(session_id=f"{n}", user_id="7", name="ada", since=0) for n in range(20)]
    async with usage.listening(hints.append):
        for card in cards:
            pings.alive(card)
            pings.using(card, "{braces} of a client")
            written = pings.using(card, "m")
        await written
        assert (await pools.models_in_use()).model_ids == ["m", "{braces} of a client"]
        count, found = await sync_to_async(pools.sessions_sync)(0, 10)
        assert (count, len(found)) == (20, 10)
        _, models = await sync_to_async(pools.models_sync)(10)
        assert {model.model_id: model.sessions for model in models} == {
            "m": 20, "{braces} of a client": 20
        }  # fmt: skip
        await client.arun(Call(int, ("ZADD", keys.session_pool(), 1, cards[0].encode())))
        assert await pools.clean_sessions(no_check) == 1
        assert await pools.clean_usage(no_check) == 0
        for card in cards:
            written = pings.leave(card, {"m", "{braces} of a client"})
        await written

        async def is_told() -> bool:
            return len(hints) >= 2

        await eventually(is_told)
    assert (await pools.models_in_use()).model_ids == []
    for key in (keys.session_pool(), keys.usage_pool(), f"{keys.usage_pool()}:m"):
        assert await client.arun(Call(int, ("EXISTS", key))) == 0


def test_in_a_cluster_each_pool_has_a_tag_of_its_own(settings: Any) -> None:
    if not settings.REDIS_CLUSTER:
        assert "{" not in keys.session_pool() + keys.usage_pool()
        return
    for key in (keys.session_pool(), keys.usage_pool()):
        assert key.startswith("{")
        assert key.endswith("}")
    assert keys.session_pool() != keys.usage_pool()
