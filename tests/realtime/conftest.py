"""Fixtures of the socket tests: one site with a daphne and a uvicorn for the whole session."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from tasks_app import api
from tests.conftest import point_at
from tests.realtime.site import Server, Site

SERVERS = ("daphne", "uvicorn")


@pytest.fixture(scope="session")
def whole_site(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(folder=tmp_path_factory.mktemp("site"), redis_url=redis_url)
    site.prepare()
    yield site
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        if keys := client.keys(f"{site.prefix}:*"):
            client.delete(*keys)


@pytest.fixture(scope="session")
def servers(whole_site: Site) -> Iterator[dict[str, Server]]:
    with contextlib.ExitStack() as stack:
        yield {kind: stack.enter_context(whole_site.serving(kind)) for kind in SERVERS}


@pytest.fixture
async def site(whole_site: Site, redis_prefix: str, settings: Any) -> AsyncIterator[Site]:
    """The site, with this test's own engine on the same Redis and prefix as its servers."""
    point_at(settings, whole_site.redis_url, whole_site.prefix)
    yield whole_site
    await api.shutdown()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, servers: dict[str, Server], site: Site) -> Server:
    """Each test that asks for this runs under both servers."""
    found: Server = servers[request.param]
    return found
