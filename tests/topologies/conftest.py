"""The same tests on one server, with Sentinels, and on a Cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from project import topology
from tests.support.redis_server import RedisServer
from tests.support.topologies import Cluster, Watched, started

KINDS = ("standalone", "sentinel", "cluster")
PASSWORD = "p@ss/w:rd"  # what a URL must quote
FROM_ENVIRONMENT = ("REDIS_URL", "REDIS_SENTINELS", "REDIS_SENTINEL_SERVICE", "REDIS_CLUSTER")


@pytest.fixture(scope="session")
def watched() -> Iterator[Watched]:
    with started(Watched, password=PASSWORD) as servers:
        yield servers


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with started(Cluster, password=PASSWORD) as servers:
        yield servers


def use(settings: Any, patch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    """Let this test's Django be configured by that environment."""
    for name in FROM_ENVIRONMENT:
        patch.delenv(name, raising=False)
    for name, value in environment.items():
        patch.setenv(name, value)
    found = topology.read("unix:///nowhere")
    settings.CACHES = topology.caches(found)
    settings.CHANNEL_LAYERS = topology.channel_layers(found)
    settings.REDIS_CLUSTER = found.cluster
    settings.REDIS_KEY_PREFIX = found.prefix


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def environment(kind: str, request: pytest.FixtureRequest, redis_prefix: str) -> dict[str, str]:
    """The variables that an operator would set for this topology."""
    prefix = {"REDIS_KEY_PREFIX": redis_prefix}
    if kind == "standalone":
        server: RedisServer = request.getfixturevalue("redis_server")
        return prefix | {"REDIS_URL": server.url}
    servers: Watched | Cluster = request.getfixturevalue(
        "watched" if kind == "sentinel" else "cluster"
    )
    return prefix | servers.environment


@pytest.fixture
async def engine_there(
    environment: dict[str, str], settings: Any, monkeypatch: pytest.MonkeyPatch, engine: None
) -> AsyncIterator[None]:
    """Let the engine use the topology of this test; what it opened is closed afterwards."""
    use(settings, monkeypatch, environment)
    return
