"""A server that may not be written to is unavailable, as during a failover; it refuses nothing."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async

from tasks_app import api
from tasks_app.errors import StoreUnavailable
from tasks_app.store import client, keys, scripts
from tasks_app.store import tasks as store
from tests import sample_tasks
from tests.conftest import RedisServer, point_at
from tests.support.topologies import HOST


async def test_a_read_only_server_is_unavailable_and_not_a_refusal(
    own_redis: RedisServer, settings: Any, engine: None
) -> None:
    point_at(settings, own_redis.url, "readonly")
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    claim = scripts.claim(
        keys.current().prefix, instance="w", slots=1, lease=30, queues=["default"]
    )
    with contextlib.closing(redis.Redis.from_url(own_redis.url)) as admin:
        admin.replicaof(HOST, 1)
        for refused in (
            client.arun(claim),
            client.arun_each([store.get(keys.current(), task.id), claim]),
            sync_to_async(api.stop_tasks_sync)([task.id], by="alice"),
        ):
            with pytest.raises(StoreUnavailable) as raised:
                await refused
            assert "refused" not in str(raised.value)
        admin.replicaof("NO", "ONE")
    assert len((await client.arun(claim)).attempts) == 1
