"""Many sockets of one process follow one task: each has every event once, however it reads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from realtime.consumers.feed import Feed
from realtime.rooms.registry import Rooms
from realtime.rooms.task import TaskRoom
from tasks_app import api
from tasks_app.store.subscriptions import subscriptions
from tasks_app.worker.worker import Worker
from tests import sample_tasks
from tests.realtime.test_outbox import Server
from tests.support.eventually import eventually

WORDS = [f"word{number} " for number in range(150)]


class Reader:
    """A socket that follows the task, on a server whose `send` does what we say."""

    def __init__(self, rooms: Rooms, task_id: str) -> None:
        self.rooms = rooms
        self.server = Server()
        self.over = 0
        self.feed = Feed(task_id, None, self.server.outbox, self.is_over)

    def is_over(self, feed: Feed) -> None:
        self.over += 1
        self.rooms.leave_soon(self.room, feed)

    @property
    def room(self) -> TaskRoom:
        return self.rooms.find(TaskRoom, self.feed.task_id)

    async def start(self, last: str | None = None) -> None:
        await self.room.join(self.feed)
        self.feed.start(last)

    async def stop(self) -> None:
        await self.feed.aclose()
        await self.rooms.leave(self.room, self.feed)
        self.server.writable.set()
        await self.server.outbox.aclose()

    @property
    def events(self) -> list[Any]:
        return [json.loads(text)["data"] for text in self.server.sent]

    async def ended(self) -> bool:
        return self.over == 1 and self.events[-1]["type"] == "end"


def text_of(events: list[Any]) -> str:
    return "".join(event["data"]["text"] for event in events if event["type"] == "token")


@pytest.fixture
async def followed(worker: Worker) -> Any:
    rooms = Rooms("here")
    task = await api.enqueue_task(sample_tasks.talk, args=(WORDS, 0.01))
    readers = [Reader(rooms, task.id) for _ in range(12)]
    yield readers
    for reader in readers:
        await reader.stop()
    assert not rooms._rooms


async def test_all_followers_get_the_same_whoever_blocks_or_comes_late(
    followed: list[Reader],
) -> None:
    early, late = followed[:8], followed[8:]
    for reader in early:
        await reader.start()
    await eventually(lambda: has_events(early[0], 10), within=20)
    for number, reader in enumerate(followed):
        if number % 3 == 0:
            reader.server.writable.clear()  # it does not read for a while
        if reader in late:
            await reader.start()
    await eventually(lambda: has_events(early[1], 40), within=20)
    assert not early[0].over
    for reader in followed:
        reader.server.writable.set()
    for reader in followed:
        await eventually(reader.ended, within=20)
    for reader in followed:
        assert reader.events == followed[1].events
        assert text_of(reader.events) == "".join(WORDS)


async def has_events(reader: Reader, count: int) -> bool:
    return len(reader.server.sent) >= count


async def test_a_gap_in_the_subscription_is_read_again_by_all(followed: list[Reader]) -> None:
    for reader in followed:
        await reader.start()
    for breaks in range(3):
        await eventually(lambda: has_events(followed[0], 10 * (breaks + 1)), within=20)  # noqa: B023
        assert subscriptions()._pubsub is not None
        await subscriptions()._pubsub.connection.disconnect()
    for reader in followed:
        await eventually(reader.ended, within=30)
        ids = [event["id"] for event in reader.events]
        assert len(ids) == len(set(ids))
        assert text_of(reader.events) == "".join(WORDS)


async def test_who_follows_in_step_needs_no_task_of_its_own(followed: list[Reader]) -> None:
    for reader in followed:
        await reader.start()

    async def in_step() -> bool:
        return all(reader.feed._reader is None and reader.server.sent for reader in followed)

    await eventually(in_step, within=20)
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert names.count("signalbox-task-room") == 1
    for reader in followed:
        await eventually(reader.ended, within=20)


async def test_a_lost_message_is_found_by_the_net(
    followed: list[Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.rooms.task.RECHECK_SECONDS", 0.2)
    for reader in followed:
        await reader.start()
    room = followed[0].room
    await eventually(lambda: has_events(followed[0], 10), within=20)
    monkeypatch.setattr(room, "_tell", lambda *_: None)  # nothing reaches the followers any more
    monkeypatch.setattr(room, "_end", silent)
    for reader in followed:
        await eventually(reader.ended, within=30)
        assert text_of(reader.events) == "".join(WORDS)


async def silent(_: str) -> None:
    return
