"""Sessions and usage as clients of `/ws/` and `GET /api/usage` see them, over several processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import redis

from realtime.domain.limits import MAX_MODELS
from realtime.store import keys
from tests.conftest import RedisServer, point_at
from tests.realtime.client import Client, dial
from tests.realtime.site import Account, Server, Site
from tests.support.eventually import eventually

SHORT = {"SESSION_TIMEOUT_SECONDS": "10"}


@pytest.fixture
def raw(site: Site) -> Iterator[Any]:
    with redis.Redis.from_url(site.redis_url, decode_responses=True) as connection:
        yield connection


def sessions_of(raw: Any, account: Account) -> list[str]:
    """Return the ids of a user's sessions in the pool."""
    cards = [json.loads(card) for card in raw.zrange(keys.session_pool(), 0, -1)]
    return [card[0] for card in cards if card[1] == account.id]


def get_usage(server: Server, headers: dict[str, str]) -> tuple[int, Any]:
    address = f"http://127.0.0.1:{server.port}/api/usage"
    try:
        with urlopen(Request(address, headers=headers), timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


async def usage_at(server: Server, account: Account) -> list[str]:
    status, body = await asyncio.to_thread(get_usage, server, account.bearer)
    assert status == 200
    models: list[str] = body["model_ids"]
    return models


async def test_a_session_is_in_the_pool_from_sign_in_to_disconnect(
    site: Site, server: Server, raw: Any
) -> None:
    mine = site.account()
    async with dial(server.url, mine.bearer) as client:
        card = (await client.ask("user-join"))["data"]
        assert sessions_of(raw, mine) == [card["session_id"]]
        async with dial(server.url) as second:
            other = await second.ask("user-join", {"auth": {"token": mine.token}})
            both = {card["session_id"], other["data"]["session_id"]}
            assert set(sessions_of(raw, mine)) == both

    async def is_gone() -> bool:
        return sessions_of(raw, mine) == []

    await eventually(is_gone)


async def test_a_heartbeat_keeps_it_and_brings_it_back(
    site: Site, server: Server, raw: Any
) -> None:
    mine = site.account()
    async with dial(server.url, mine.bearer) as client:
        session_id = (await client.ask("user-join"))["data"]["session_id"]
        raw.delete(keys.session_pool())  # as a Redis that forgot

        async def is_back() -> bool:
            await client.ask("heartbeat")
            return sessions_of(raw, mine) == [session_id]

        await eventually(is_back)


async def test_a_model_is_in_use_from_its_ping_to_the_disconnect(
    servers: dict[str, Server], site: Site
) -> None:
    mine, watcher = site.account(), site.account()
    here, there = servers.values()
    async with dial(there.url, watcher.bearer) as watching:
        async with dial(here.url, mine.bearer) as client:
            assert (await client.ask("usage", {"model": "gpt-ä"}))["type"] == "ack"
            for server in (here, there):
                assert "gpt-ä" in await usage_at(server, watcher)
            await watching.wait_for(shows("gpt-ä"))
            await client.wait_for(shows("gpt-ä"))
        await watching.wait_for(shows_no("gpt-ä"), within=2.5)  # before its time-out
        assert "gpt-ä" not in await usage_at(there, watcher)


def shows(model: str) -> Any:
    return lambda frame: frame["type"] == "usage" and model in frame["data"]["model_ids"]


def shows_no(model: str) -> Any:
    return lambda frame: frame["type"] == "usage" and model not in frame["data"]["model_ids"]


async def test_a_model_that_is_not_pinged_any_more_goes_out_of_use(
    servers: dict[str, Server], site: Site
) -> None:
    mine, watcher = site.account(), site.account()
    here, there = servers.values()
    async with dial(here.url, mine.bearer) as client, dial(there.url, watcher.bearer) as watching:
        await client.ask("usage", {"model": "gpt-once"})
        await watching.wait_for(shows("gpt-once"))
        await watching.wait_for(shows_no("gpt-once"))
        assert "gpt-once" not in await usage_at(here, watcher)
        assert await client.is_alive()


async def test_usage_is_told_on_change_only(servers: dict[str, Server], site: Site) -> None:
    mine = site.account()
    server = servers["daphne"]
    async with dial(server.url, mine.bearer) as client:
        # Longer than the time-out, which each ping puts off.
        async with asyncio.timeout(20):
            for _ in range(20):
                await client.ask("usage", {"model": "gpt-steady"})
                await asyncio.sleep(0.2)
        told = [frame["data"]["model_ids"] for frame in client.frames if frame["type"] == "usage"]
        assert ["gpt-steady" in models for models in told].count(True) >= 1
        assert all(one != following for one, following in pairwise(told))


async def test_many_changes_are_told_together(site: Site, server: Server) -> None:
    mine = site.account()
    models = {f"gpt-many-{number}" for number in range(15)}
    async with dial(server.url, mine.bearer) as client:
        for model in models:
            await client.send("usage", {"model": model})
        await client.wait_for(
            lambda f: f["type"] == "usage" and models <= set(f["data"]["model_ids"])
        )
        assert len([frame for frame in client.frames if frame["type"] == "usage"]) < 8


async def test_who_signs_in_is_shown_what_is_in_use(site: Site, server: Server) -> None:
    mine, later = site.account(), site.account()
    async with dial(server.url, mine.bearer) as client:
        await client.ask("usage", {"model": "gpt-before"})
        await client.wait_for(shows("gpt-before"))
        async with dial(server.url, later.bearer) as newcomer:
            await newcomer.wait_for(shows("gpt-before"))


async def test_bad_usage_is_refused(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        for data in ({}, {"model": ""}, {"model": 1}, {"model": "x" * 501}, {"model": None}):
            assert await client.refusal("usage", data) == "invalid", data
        await client.connection.send(r'{"type": "usage", "data": {"model": "\ud800"}}')
        assert (await client.next("error"))["code"] == "invalid"
        assert await client.is_alive()
    async with dial(server.url) as stranger:
        assert await stranger.refusal("usage", {"model": "x"}) == "not_signed_in"


async def test_models_per_session_are_bounded(site: Site, server: Server) -> None:
    async with dial(server.url, site.account().bearer) as client:
        for number in range(MAX_MODELS):
            assert (await client.ask("usage", {"model": f"m{number}"}))["type"] == "ack"
        assert await client.refusal("usage", {"model": "one too many"}) == "rate_limited"
        assert (await client.ask("usage", {"model": "m0"}))["type"] == "ack"


async def test_usage_over_http_needs_a_sign_in(site: Site, server: Server) -> None:
    status, body = await asyncio.to_thread(get_usage, server, {})
    assert status == 401
    assert "createtoken" in body["detail"]


async def test_without_redis_usage_is_unavailable(
    whole_site: Site, own_redis: RedisServer, settings: Any
) -> None:
    site = Site(folder=whole_site.folder, redis_url=own_redis.url, accounts=whole_site.accounts)
    point_at(settings, site.redis_url, site.prefix)
    mine = whole_site.account()
    with site.serving("daphne") as server:
        async with dial(server.url, mine.bearer) as client:
            await client.ask("usage", {"model": "m"})
            own_redis.kill()
            assert await client.refusal("usage", {"model": "m"}) == "unavailable"
            await client.send("usage", {"model": "m"})  # nobody waits for this one
            status, body = await asyncio.to_thread(get_usage, server, mine.bearer)
            assert (status, bool(body["detail"])) == (503, True)
            own_redis.start()

            async def is_back() -> bool:
                return (await client.ask("usage", {"model": "m"}))["type"] == "ack"

            await eventually(is_back, within=10)


async def dial_many(
    stack: contextlib.AsyncExitStack, server: Server, accounts: Sequence[Account]
) -> list[Client]:
    clients: list[Client] = []
    for at in range(0, len(accounts), 50):
        dialing = (dial(server.url, account.bearer) for account in accounts[at : at + 50])
        clients += await asyncio.gather(*map(stack.enter_async_context, dialing))
    return clients


async def test_200_sessions_on_four_processes_are_all_counted(
    servers: dict[str, Server], site: Site, raw: Any
) -> None:
    accounts = [site.account() for _ in range(5)]
    async with contextlib.AsyncExitStack() as stack:
        web = [*servers.values(), *(stack.enter_context(site.serving(kind)) for kind in servers)]
        clients = [c for server in web for c in await dial_many(stack, server, accounts * 10)]
        assert len(clients) == 200
        await asyncio.gather(*(c.ask("usage", {"model": "gpt-all"}) for c in clients))
        assert raw.zcard(f"{keys.usage_pool()}:gpt-all") == 200
        for server in web:
            assert "gpt-all" in await usage_at(server, accounts[0])


async def test_a_killed_process_leaves_nothing_behind(
    whole_site: Site, own_redis: RedisServer, settings: Any
) -> None:
    """Its sessions and uses time out, and then no key is left, though no worker cleans up."""
    site = Site(
        folder=whole_site.folder, redis_url=own_redis.url, accounts=whole_site.accounts, more=SHORT
    )
    point_at(settings, site.redis_url, site.prefix)
    mine = [whole_site.account() for _ in range(5)]
    other = whole_site.account()
    with redis.Redis.from_url(site.redis_url, decode_responses=True) as raw:
        async with contextlib.AsyncExitStack() as stack:
            doomed = stack.enter_context(site.serving("daphne"))
            safe = stack.enter_context(site.serving("uvicorn"))
            neighbour = await stack.enter_async_context(dial(safe.url, other.bearer))
            clients = await dial_many(stack, doomed, mine * 100)
            await asyncio.gather(*(c.ask("usage", {"model": "gpt-doomed"}) for c in clients))
            await neighbour.ask("usage", {"model": "gpt-safe"})
            assert raw.zcard(f"{keys.usage_pool()}:gpt-doomed") == 500
            assert raw.zcard(keys.session_pool()) == 501
            await neighbour.wait_for(shows("gpt-doomed"))
            doomed.process.kill()
            await neighbour.wait_for(shows_no("gpt-doomed"))
            assert raw.keys(f"{keys.usage_pool()}:gpt-doomed") == []
        # Everybody has left: what was killed goes with its time-out.

        async def is_clean() -> bool:
            return raw.keys(f"{keys.session_pool()}*") + raw.keys(f"{keys.usage_pool()}*") == []

        await eventually(is_clean, within=30)
