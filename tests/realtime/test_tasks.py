"""Watching and stopping tasks over `/ws/`, with a real worker, on both servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime.domain.limits import CONFIGURABLE
from tasks_app import api
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.conftest import running
from tests.realtime.client import Client, Frame, dial
from tests.realtime.site import Account, Server, Site
from tests.support.eventually import eventually

WORDS = [f"word{number} " for number in range(200)]


@pytest.fixture
async def worker(site: Site) -> AsyncIterator[Worker]:
    async with running(Worker(name="test", grace=0.2)) as started:
        yield started


async def enqueue(account: Account | None, sample: Any, *args: Any, item_id: str = "") -> str:
    owner = account.id if account else ""
    ask = api.Ask(user_id=owner, item_id=item_id)
    return (await api.enqueue_task(sample, args=args, ask=ask)).id


async def events_until_end(client: Client, task_id: str) -> list[Frame]:
    events: list[Frame] = []
    while not events or events[-1]["type"] != "end":
        event = await client.next("task:event")
        assert event["task_id"] == task_id
        assert set(event) == {"task_id", "id", "type", "data"}
        events.append(event)
    return events


def text_of(events: list[Frame]) -> str:
    return "".join(event["data"]["text"] for event in events if event["type"] == "token")


async def reaches(task_id: str, status: str) -> None:
    async def check() -> bool:
        return (await api.get_task(task_id)).status == status

    await eventually(check)


# --- the user's room ---


async def test_owner_hears_of_a_task_without_subscribing(
    site: Site, server: Server, worker: Worker
) -> None:
    mine, other = site.account(), site.account()
    async with (
        dial(server.url, mine.bearer) as first,
        dial(server.url, mine.cookie) as second,
        dial(server.url, other.bearer) as stranger,
        dial(server.url, site.superuser.bearer) as staff,
    ):
        for client in (first, second, stranger, staff):
            await client.ask("user-join")
        task_id = await enqueue(mine, sample_tasks.add, 1, 2, item_id="chat-1")
        for client in (first, second):
            task = await client.wait_for(
                lambda frame: frame["type"] == "task:update" and frame["data"]["finished_at"]
            )
            assert task["data"]["id"] == task_id
            assert task["data"]["status"] == "succeeded"
            assert task["data"]["item_id"] == "chat-1"
            assert "result" not in task["data"]
        for client in (stranger, staff):
            assert await client.is_alive()
            assert not client.frames


async def test_updates_of_a_task_never_go_backwards(
    site: Site, server: Server, worker: Worker
) -> None:
    mine = site.account()
    async with dial(server.url, mine.bearer) as client:
        await client.ask("user-join")
        ids = {await enqueue(mine, sample_tasks.add, 1, number) for number in range(50)}
        order = ["scheduled", "queued", "running", "succeeded"]
        seen: dict[str, list[str]] = {}
        while sum(states[-1] == "succeeded" for states in seen.values()) < len(ids):
            task = await client.next("task:update")
            seen.setdefault(task["id"], []).append(task["status"])
    assert set(seen) == ids
    assert all(states == sorted(states, key=order.index) for states in seen.values())


# --- subscriptions ---


async def test_events_come_complete_and_in_order_after_the_ack(
    site: Site, server: Server, worker: Worker
) -> None:
    mine = site.account()
    async with dial(server.url, mine.bearer) as client:
        task_id = await enqueue(mine, sample_tasks.talk, WORDS, 0.002)
        answer = await client.ask("task:subscribe", {"task_id": task_id})
        assert answer["data"] == {"task_id": task_id}
        assert not any(frame["type"] == "task:event" for frame in client.frames)
        events = await events_until_end(client, task_id)
    assert text_of(events) == "".join(WORDS)
    assert events[-1]["data"]["status"] == "succeeded"
    assert events[-1]["data"]["result"] == "".join(WORDS)


async def test_resumes_at_every_event_without_loss_or_repetition(
    site: Site, servers: dict[str, Server], worker: Worker
) -> None:
    """The end of one connection is the beginning of the next, on the other instance."""
    mine = site.account()
    task_id = await enqueue(mine, sample_tasks.talk, WORDS, 0.005)
    events: list[Frame] = []
    turns = 0
    while not events or events[-1]["type"] != "end":
        url = list(servers.values())[turns % 2].url
        last = events[-1]["id"] if events else None
        async with dial(url, mine.bearer) as client:
            await client.ask("task:subscribe", {"task_id": task_id, "last_event_id": last})
            for _ in range(1 + turns % 3):
                events.append(await client.next("task:event"))
                if events[-1]["type"] == "end":
                    break
        turns += 1
    assert turns > 3
    ids = [tuple(map(int, event["id"].split("-"))) for event in events]
    assert ids == sorted(set(ids))
    assert text_of(events) == "".join(WORDS)
    # The same from a finished task, from each of its events on.
    async with dial(url, mine.bearer) as client:
        for position in (0, len(events) // 2, len(events) - 2):
            data = {"task_id": task_id, "last_event_id": events[position]["id"]}
            await client.ask("task:subscribe", data)
            assert await events_until_end(client, task_id) == events[position + 1 :]


async def test_an_unknown_event_id_is_answered_by_a_snapshot(
    site: Site, server: Server, worker: Worker
) -> None:
    mine = site.account()
    task_id = await enqueue(mine, sample_tasks.talk, ["a", "b"])
    await reaches(task_id, "succeeded")
    async with dial(server.url, mine.bearer) as client:
        for unknown in ("nonsense", "99999999999999999999-0", "\u0661-\u0660", "1" * 65):
            data = {"task_id": task_id, "last_event_id": unknown}
            await client.ask("task:subscribe", data)
            events = await events_until_end(client, task_id)
            assert events[0]["type"] == "snapshot"
            assert events[0]["data"]["text"] == "ab"
            assert text_of(events) == ""


async def test_two_sockets_and_two_tasks_do_not_disturb_each_other(
    site: Site, server: Server, worker: Worker
) -> None:
    mine = site.account()
    async with dial(server.url, mine.bearer) as one, dial(server.url, mine.bearer) as two:
        first = await enqueue(mine, sample_tasks.talk, WORDS, 0.001)
        second = await enqueue(mine, sample_tasks.talk, WORDS[::-1], 0.001)
        for client in (one, two):
            await client.ask("task:subscribe", {"task_id": first})
        await two.ask("task:subscribe", {"task_id": second})
        assert text_of(await events_until_end(one, first)) == "".join(WORDS)
        both: dict[str, str] = {first: "", second: ""}
        ends = 0
        while ends < 2:
            event = await two.next("task:event")
            both[event["task_id"]] += event["data"].get("text", "")
            ends += event["type"] == "end"
        assert both == {first: "".join(WORDS), second: "".join(WORDS[::-1])}


async def test_unsubscribe_ends_the_events(site: Site, server: Server, worker: Worker) -> None:
    mine = site.account()
    async with dial(server.url, mine.bearer) as client:
        task_id = await enqueue(mine, sample_tasks.talk, WORDS, 0.01)
        await client.ask("task:subscribe", {"task_id": task_id})
        await client.next("task:event")
        answer = await client.ask("task:unsubscribe", {"task_id": task_id})
        assert answer["type"] == "ack"
        client.frames.clear()
        await client.wait_for(
            lambda frame: frame["type"] == "task:update" and frame["data"]["finished_at"]
        )
        assert not any(frame["type"] == "task:event" for frame in client.frames)
        assert (await client.ask("task:unsubscribe", {"task_id": "never"}))["type"] == "ack"


async def test_subscriptions_per_socket_are_bounded(site: Site, server: Server) -> None:
    mine = site.account()
    ids = [
        await enqueue(mine, sample_tasks.add, 1, 2)
        for _ in range(CONFIGURABLE["subscriptions"] + 1)
    ]
    async with dial(server.url, mine.bearer) as client:
        for task_id in ids[:-1]:
            await client.ask("task:subscribe", {"task_id": task_id})
        assert await client.refusal("task:subscribe", {"task_id": ids[-1]}) == "rate_limited"
        await client.ask("task:subscribe", {"task_id": ids[0]})
        await client.ask("task:unsubscribe", {"task_id": ids[0]})
        assert (await client.ask("task:subscribe", {"task_id": ids[-1]}))["type"] == "ack"
    for task_id in ids:
        await api.stop_task(task_id, by="test")


# --- stopping ---


async def test_stops_a_running_task(site: Site, server: Server, worker: Worker) -> None:
    mine = site.account()
    task_id = await enqueue(mine, sample_tasks.wait_for_stop)
    await reaches(task_id, "running")
    async with dial(server.url, mine.bearer) as client:
        await client.ask("task:subscribe", {"task_id": task_id})
        answer = await client.ask("task:stop", {"task_id": task_id})
        assert answer["data"]["id"] == task_id
        assert answer["data"]["status"] in {"canceling", "canceled"}
        assert "result" not in answer["data"]
        end = (await events_until_end(client, task_id))[-1]["data"]
        assert (end["status"], end["stopped_by"], end["reason"]) == ("canceled", mine.name, "user")
        assert await client.refusal("task:stop", {"task_id": task_id}) == "conflict"
    assert task_id in sample_tasks.FINALLY


async def test_stops_the_tasks_of_an_item_that_are_the_users_own(
    site: Site, server: Server, worker: Worker
) -> None:
    mine, other = site.account(), site.account()
    item = f"chat {mine.id} ä"
    own = [await enqueue(mine, sample_tasks.wait_for_stop, item_id=item) for _ in range(3)]
    foreign = await enqueue(other, sample_tasks.wait_for_stop, item_id=item)
    async with dial(server.url, mine.bearer) as client:
        answer = await client.ask("task:stop", {"item_id": item})
        assert sorted(answer["data"]["task_ids"]) == sorted(own)
        for task_id in own:
            await reaches(task_id, "canceled")
        assert (await client.ask("task:stop", {"item_id": item}))["data"] == {"task_ids": []}
    assert not (await api.get_task(foreign)).is_finished
    await api.stop_task(foreign, by="test")


# --- what is not one's own ---


async def test_what_one_may_not_see_is_not_found(site: Site, server: Server) -> None:
    mine, other = site.account(), site.account()
    foreign = await enqueue(other, sample_tasks.add, 1, 2)
    nobodys = await enqueue(None, sample_tasks.add, 1, 2)
    async with dial(server.url, mine.bearer) as client:
        for task_id in (foreign, nobodys, "a" * 32):
            for kind in ("task:subscribe", "task:stop"):
                forged = {"task_id": task_id, "user_id": other.id, "viewer": "root"}
                assert await client.refusal(kind, forged) == "not_found"
        assert await client.is_alive()
        assert not client.frames
    for task_id in (foreign, nobodys):
        assert (await api.get_task(task_id)).status == "queued"
        await api.stop_task(task_id, by="test")


async def test_staff_see_all_tasks_and_act_with_the_permission_to(
    site: Site, server: Server
) -> None:
    other = site.account()
    ids = [
        await enqueue(other, sample_tasks.add, 1, 2),
        await enqueue(None, sample_tasks.add, 1, 2),
    ]
    async with (
        dial(server.url, site.clerk.bearer) as clerk,
        dial(server.url, site.superuser.bearer) as root,
    ):
        for task_id in ids:
            assert (await clerk.ask("task:subscribe", {"task_id": task_id}))["type"] == "ack"
            assert await clerk.refusal("task:stop", {"task_id": task_id}) == "forbidden"
            assert (await root.ask("task:stop", {"task_id": task_id}))["type"] == "ack"
            assert (await events_until_end(clerk, task_id))[-1]["data"]["stopped_by"] == "root"


async def test_rights_are_read_at_each_action(site: Site, server: Server) -> None:
    staff, other = site.account(), site.account()
    task_id = await enqueue(other, sample_tasks.add, 1, 2)
    async with dial(server.url, staff.bearer) as client:
        assert await client.refusal("task:subscribe", {"task_id": task_id}) == "not_found"
        site.sql("UPDATE auth_user SET is_superuser = 1, is_staff = 1 WHERE id = ?", staff.id)
        assert (await client.ask("task:subscribe", {"task_id": task_id}))["type"] == "ack"
        site.sql("UPDATE auth_user SET is_superuser = 0, is_staff = 0 WHERE id = ?", staff.id)
        assert await client.refusal("task:stop", {"task_id": task_id}) == "not_found"
        site.sql("UPDATE auth_user SET is_active = 0 WHERE id = ?", staff.id)
        assert await client.refusal("task:stop", {"task_id": task_id}) == "not_signed_in"
        assert await client.close_code() == 4401
    await api.stop_task(task_id, by="test")


async def test_a_lost_right_ends_the_feeds_it_gave(servers: dict[str, Server], site: Site) -> None:
    staff, other = site.account(), site.account()
    site.sql("UPDATE auth_user SET is_superuser = 1, is_staff = 1 WHERE id = ?", staff.id)
    foreign, own = (
        await enqueue(other, sample_tasks.add, 1, 2),
        await enqueue(staff, sample_tasks.add, 1, 2),
    )
    async with dial(servers["uvicorn"].url, staff.bearer) as client:
        for task_id in (foreign, own):
            await client.ask("task:subscribe", {"task_id": task_id})
        site.sql("UPDATE auth_user SET is_superuser = 0, is_staff = 0 WHERE id = ?", staff.id)
        error = await client.wait_for(lambda frame: frame["type"] == "error", within=30)
        assert (error["data"]["task_id"], error["data"]["code"]) == (foreign, "not_found")
        client.frames.clear()
        for task_id in (foreign, own):
            await api.stop_task(task_id, by="test")
        assert (await events_until_end(client, own))[-1]["data"]["status"] == "canceled"
        assert not any(frame["type"] == "task:event" for frame in client.frames)
