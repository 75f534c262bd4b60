"""What only a Cluster asks for: one slot for all of the engine, and a slot that moves."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from redis.crc import key_slot

from tasks_app import api
from tasks_app.errors import StoreUnavailable
from tasks_app.store.locks import RedisLock
from tasks_app.store.mappings import RedisDict
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually, eventually_sync
from tests.support.topologies import HOST, Cluster, Server
from tests.topologies.conftest import use


async def is_available() -> bool:
    try:
        await api.ping()
        await api.enqueue_task(sample_tasks.add, args=(1, 2))
    except StoreUnavailable:
        return False
    return True


@pytest.fixture
async def on_cluster(
    cluster: Cluster,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    redis_prefix: str,
    engine: None,
) -> Cluster:
    use(settings, monkeypatch, {**cluster.environment, "REDIS_KEY_PREFIX": redis_prefix})
    return cluster


def masters(cluster: Cluster) -> list[Server]:
    return [server for server in cluster.servers if server.call("ROLE")[0] == "master"]


async def test_every_key_of_the_engine_is_in_one_slot(
    on_cluster: Cluster, redis_prefix: str
) -> None:
    ask = api.Ask(item_id="{a}{b}", user_id="{c}")
    async with running(Worker(grace=0.2)):
        task = await api.enqueue_task(sample_tasks.talk, args=(["words"],), ask=ask)
        await api.wait_task(task.id, 10)
        await api.enqueue_task(sample_tasks.wait_for_stop, ask=ask)
        await RedisLock("work").acquire()
        await RedisDict("models").aset("{d}", 1)
        found = [server.call("KEYS", f"*{redis_prefix}*") for server in masters(on_cluster)]
    names = [name for part in found for name in part]
    assert {name for name in names if not name.startswith(f"{{{redis_prefix}}}:")} == set()
    assert len({key_slot(name.encode()) for name in names}) == 1
    kinds = {name.split(":")[1] for name in names}
    assert {"tasks", "task", "output", "text", "running", "workers", "lock", "models"} <= kinds


async def test_a_slot_that_moves_is_unavailable_and_then_found(
    on_cluster: Cluster, redis_prefix: str
) -> None:
    cluster, prefix = on_cluster, f"{{{redis_prefix}}}:"
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    assert await sync_to_async(api.count_tasks_sync)() == 1
    slot, source = key_slot(prefix.encode()), cluster.owner(prefix)
    target = next(server for server in masters(cluster) if server is not source)
    open_slot(slot, source, target)
    with pytest.raises(StoreUnavailable):  # its keys are on two nodes: no script may run
        await api.enqueue_task(sample_tasks.add, args=(1, 2))
    move_slot(cluster, slot, source, target)
    try:
        await eventually(is_available, within=10)
        assert (await api.get_task(task.id)).id == task.id
        assert task.id in await sync_to_async(api.task_ids_sync)(0, 10)
        assert cluster.owner(prefix) is target
    finally:
        open_slot(slot, target, source)
        move_slot(cluster, slot, target, source)
        eventually_sync(lambda: cluster.owner(prefix) is source, within=10)
        cluster.wait_until_whole()


def open_slot(slot: int, source: Server, target: Server) -> None:
    """Begin to move a slot: from now on the source sends those away whose key it has not."""
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.call("CLUSTER", "MYID"))
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.call("CLUSTER", "MYID"))


def move_slot(cluster: Cluster, slot: int, source: Server, target: Server) -> None:
    """Move the keys and the slot, as redis-cli's reshard does."""
    while found := source.call("CLUSTER", "GETKEYSINSLOT", slot, 100):
        auth = ("AUTH", cluster.password)
        source.call("MIGRATE", HOST, target.port, "", 0, 5000, *auth, "KEYS", *found)
    owner = target.call("CLUSTER", "MYID")
    for server in (target, source, *masters(cluster)):
        server.call("CLUSTER", "SETSLOT", slot, "NODE", owner)
