"""Where nobody answers, or the wrong kind of server does, the engine is unavailable: no hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tasks_app import api
from tasks_app.errors import StoreUnavailable
from tests.support.topologies import HOST, Watched, free_ports
from tests.topologies.conftest import use


@pytest.fixture
async def deaf_port() -> AsyncIterator[int]:
    """A server that accepts connections and says nothing."""
    [port] = free_ports(1)
    ended = asyncio.Event()

    async def be_silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(be_silent, HOST, port):
        yield port
        ended.set()


async def is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await api.ping()
    with pytest.raises(StoreUnavailable):
        await sync_to_async(api.count_tasks_sync)()


@pytest.mark.parametrize("variable", ["REDIS_SENTINELS", "REDIS_CLUSTER"])
@pytest.mark.parametrize("is_deaf", [False, True])
async def test_nobody_answers(
    variable: str,
    is_deaf: bool,
    deaf_port: int,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    engine: None,
) -> None:
    port = deaf_port if is_deaf else free_ports(1)[0]
    environment = {
        "REDIS_SENTINELS": {
            "REDIS_SENTINELS": f"{HOST}:{port}",
            "REDIS_SENTINEL_SERVICE": f"s{port}",
        },
        "REDIS_CLUSTER": {"REDIS_CLUSTER": "1", "REDIS_URL": f"redis://{HOST}:{port}"},
    }[variable]
    use(settings, monkeypatch, environment)
    await is_unavailable()


async def test_sentinels_that_do_not_know_the_service(
    watched: Watched, settings: Any, monkeypatch: pytest.MonkeyPatch, engine: None
) -> None:
    use(settings, monkeypatch, {**watched.environment, "REDIS_SENTINEL_SERVICE": "unknown"})
    await is_unavailable()


async def test_a_node_that_is_no_cluster(
    watched: Watched, settings: Any, monkeypatch: pytest.MonkeyPatch, engine: None
) -> None:
    url = watched.environment["REDIS_URL"].replace("any/0", f"{HOST}:{watched.master.port}")
    use(settings, monkeypatch, {"REDIS_CLUSTER": "1", "REDIS_URL": url})
    await is_unavailable()
