"""What the engine does, it does on one server, with Sentinels and on a Cluster alike."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import aclosing
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings as django_settings
from django.core.cache import cache
from django_redis import get_redis_connection

from tasks_app import api
from tasks_app.domain.states import TaskState
from tasks_app.store import client, cluster, keys, scripts
from tasks_app.store.locks import RedisLock
from tasks_app.store.mappings import RedisDict
from tasks_app.store.scripts import Call
from tasks_app.store.subscriptions import subscriptions
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import running
from tests.support.eventually import eventually
from tests.support.stack import ROOT

pytestmark = pytest.mark.usefixtures("engine_there")


async def plain(*words: Any) -> Any:
    """Execute a plain command about a key."""
    return await client.arun(Call(lambda reply: reply, words))


async def events_of(task_id: str) -> list[tuple[str, Any]]:
    async with aclosing(api.follow(task_id)) as events:
        return [(event.type, event.data) async for event in events]


async def said_something(task_id: str) -> None:
    async with aclosing(api.follow(task_id)) as events:
        async for event in events:
            if event.type == "token":
                return


async def test_a_task_runs_and_its_output_is_followed() -> None:
    async with running(Worker(grace=0.2)):
        task = await api.enqueue_task(sample_tasks.talk, args=(["some ", "words"], 0.05))
        events = await events_of(task.id)
    assert "".join(data["text"] for kind, data in events if kind == "token") == "some words"
    assert events[-1][0] == "end"
    assert events[-1][1]["status"] == "succeeded"
    assert [kind for kind, _ in events].count("end") == 1


async def test_a_running_task_is_stopped_and_lists_know_it() -> None:
    async with running(Worker(grace=0.2)):
        ask = api.Ask(item_id="chat-1", user_id="7")
        task = await api.enqueue_task(sample_tasks.wait_for_stop, ask=ask)
        await said_something(task.id)
        assert await api.unfinished_ids(None, "chat-1") == [task.id]
        page = await api.list_tasks(limit=10)
        assert [listed.id for listed in page.tasks] == [task.id]
        stopped = await api.stop_task(task.id, by="alice", wait=10)
    assert (stopped.status, stopped.stopped_by) == (TaskState.CANCELED, "alice")
    assert task.id in sample_tasks.FINALLY
    assert await api.unfinished_ids(None, "chat-1") == []


async def test_synchronous_code_enqueues_reads_and_stops() -> None:
    @sync_to_async
    def as_the_admin_does() -> tuple[Any, Any, Any]:
        task = api.enqueue_sync(sample_tasks.wait_for_stop)
        counted = api.count_tasks_sync()
        code = api.stop_tasks_sync([task.id, "unknown"], by="alice")
        return api.summaries_sync(api.task_ids_sync(0, 10))[0], counted, code

    task, counted, codes = await as_the_admin_does()
    assert (task.status, counted) == (TaskState.CANCELED, 1)
    assert codes == [api.StopCode.CANCELED, api.StopCode.MISSING]
    assert (await api.get_task(task.id)).stopped_by == "alice"


async def test_scripts_that_a_server_does_not_know_are_loaded_there() -> None:
    for flush in (_flush_async, sync_to_async(_flush_sync)):
        await flush()
        task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
        await flush()
        assert (await sync_to_async(api.stop_tasks_sync)([task.id], by="x")) == [
            api.StopCode.CANCELED
        ]


async def _flush_async() -> None:
    await (await client.links().to(keys.current().prefix)).redis.script_flush()


def _flush_sync() -> None:
    cluster.node_of(get_redis_connection("default"), keys.current().prefix).script_flush()


async def test_a_lock_has_one_owner_and_growing_fences() -> None:
    first, second = RedisLock("work", timeout=30), RedisLock("work", timeout=30)
    assert await first.acquire()
    assert not await second.acquire()
    waiting = asyncio.create_task(second.acquire(wait=10))
    fence = first.fence
    assert await first.renew()
    assert await first.release()
    assert await waiting
    assert second.fence > fence
    assert not await first.release()
    assert await second.release()


async def test_a_dictionary_is_replaced_at_once() -> None:
    shared = RedisDict("models")
    await shared.areplace({str(number): {"n": number} for number in range(1200)})
    assert len(await shared.aitems()) == 1200
    await sync_to_async(shared.replace)({"only": 1})
    assert await shared.aitems() == {"only": 1}
    assert await sync_to_async(dict)(shared) == {"only": 1}
    assert await shared.adelete("only")


async def test_subscribers_are_back_after_their_connection_was_killed() -> None:
    heard: list[str | None] = []
    channel = keys.current().changes("7")
    async with subscriptions().listening(channel, heard.append):
        redis = (await client.links().to(channel)).redis
        await redis.client_kill_filter(_type="pubsub")

        async def told() -> bool:
            return None in heard

        await eventually(told)
        await redis.publish(channel, "after")

        async def hears() -> bool:
            return "after" in heard

        await eventually(hears)


async def test_a_command_published_by_another_client_stops_a_task() -> None:
    async with running(Worker(grace=0.2)):
        task = await api.enqueue_task(sample_tasks.wait_for_stop)
        await said_something(task.id)
        command = json.dumps({"action": "stop", "task_id": task.id})

        async def heard() -> bool:
            return bool(await plain("PUBLISH", keys.current().name("commands"), command))

        await heard()
        ended = await api.wait_task(task.id, 10)
    assert ended.status is TaskState.CANCELED


@pytest.mark.parametrize("item", ["{other}:tag", "}{", "{}", "a{b}c{d}", "chat {1}"])
async def test_braces_in_an_items_id_do_no_harm(item: str) -> None:
    ask = api.Ask(item_id=item, user_id="{7}")
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2), ask=ask)
    assert await api.unfinished_ids(None, item) == [task.id]
    assert await api.stop_item(item, by="alice") == [task.id]
    assert await api.unfinished_ids(None, item) == []


async def test_djangos_cache_works() -> None:
    @sync_to_async
    def through_the_cache() -> Any:
        cache.set("one", {"a": 1}, 60)
        cache.set_many({"two": 2, "three": 3}, 60)
        cache.incr("two")
        assert cache.add("one", 5) is False
        found = cache.get_many(["one", "two", "three"])
        cache.delete_many(["one", "two"])
        return found, cache.get("one"), sorted(cache.iter_keys("*"))

    assert await through_the_cache() == ({"one": {"a": 1}, "two": 3, "three": 3}, None, ["three"])


async def test_two_channel_layers_exchange_a_group_message() -> None:
    config = django_settings.CHANNEL_LAYERS["default"]["CONFIG"]
    one, other = RedisPubSubChannelLayer(**config), RedisPubSubChannelLayer(**config)
    try:
        channel = await one.new_channel()
        await one.group_add("board", channel)
        await other.group_send("board", {"type": "news", "text": "hello"})
        async with asyncio.timeout(10):
            assert await one.receive(channel) == {"type": "news", "text": "hello"}
    finally:
        await close(one)
        await close(other)


async def close(layer: Any) -> None:
    """Close a layer, and the connections to the Sentinels, which it forgets."""
    managers = [
        getattr(shard._redis.connection_pool, "sentinel_manager", None) for shard in layer._shards
    ]
    await layer.flush()
    for manager in filter(None, managers):
        await manager.aclose()


async def test_a_process_of_its_own_finds_the_same_tasks(environment: dict[str, str]) -> None:
    task = await api.enqueue_task(sample_tasks.add, args=(1, 2))
    command = [sys.executable, "manage.py", "tasks", "list", "--json"]
    listed = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DEBUG": "1", "SECRET_KEY": "x", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert task.id in listed.stdout


async def test_a_pipeline_keeps_its_order_in_one_slot() -> None:
    call = scripts.stop(keys.current().prefix, task_id="unknown", by="x", reason="user")
    key = RedisDict("order")._key()
    calls = [call, *(Call(int, ("HINCRBY", key, "n", 1)) for _ in range(50))]
    code, *numbers = await client.arun_all(calls)
    assert code is scripts.StopCode.MISSING
    assert numbers == list(range(1, 51))
