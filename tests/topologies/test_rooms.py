"""Presence, events of rooms, questions and notifications, on every topology of Redis."""

from __future__ import annotations

import asyncio

import pytest

from realtime import SessionNotFound, call_user, notify_user
from realtime.domain.calls import Question, new_instance, new_session_id
from realtime.store import calls, channels, client, keys, presence
from realtime.store.scripts import Call
from tasks_app import api
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("engine_there")

ROOM = "public:a"
FRAME = '{"type":"room:event"}'


async def test_presence_is_counted_and_its_changes_are_told() -> None:
    heard: list[str | None] = []
    async with channels.listen_room(ROOM, heard.append):
        await presence.touch(ROOM, "one", {"1": "ada", "2": "b\0n"})
        await presence.touch(ROOM, "two", {"1": "ada"})
        await presence.touch(ROOM, "two", {"1": "ada"})  # nothing new, so nobody is told
        assert await presence.read(ROOM) == presence.Present(2, (("1", "ada"), ("2", "b\0n")))
        await channels.publish_to_room(ROOM, FRAME)
        await presence.drop(ROOM, "one", {"1": "ada", "2": "b\0n"})
        assert (await presence.read(ROOM)).count == 1
        await presence.drop(ROOM, "two", {"1": "ada"})

        async def all_heard() -> bool:
            return heard == ["", "", FRAME, "", ""]

        await eventually(all_heard)
    assert await client.arun(Call(int, ("EXISTS", keys.presence(ROOM)))) == 0


async def test_of_many_users_all_are_counted_and_some_named() -> None:
    users = {str(number): f"user {number:04}" for number in range(1200)}
    await presence.touch(ROOM, "one", users)
    found = await presence.read(ROOM)
    assert found.count == len(users)
    assert len(found.users) == presence.MAX_LISTED
    assert list(found.users) == sorted(found.users, key=lambda user: user[1])
    await presence.drop(ROOM, "one", users)
    assert await presence.read(ROOM) == presence.Present(0, ())


async def test_a_question_finds_its_process_and_the_answer_its_asker() -> None:
    instance = new_instance()
    session_id = new_session_id(instance)
    asked: asyncio.Queue[str | None] = asyncio.Queue()
    async with channels.listen_instance(instance, asked.put_nowait):
        asking = asyncio.create_task(call_user(session_id, "confirm", timeout=20))
        question = Question.decode(await asked.get() or "")
        assert question.session_id == session_id
        assert not await calls.answer(question.call_id, new_session_id(instance), "1")
        assert await calls.answer(question.call_id, session_id, '["yes"]')
        assert not await calls.answer(question.call_id, session_id, '["again"]')
        assert await asking == ["yes"]
    with pytest.raises(SessionNotFound):
        await call_user(new_session_id(new_instance()), "confirm", timeout=20)


async def test_a_notification_comes_on_the_channel_of_the_user() -> None:
    heard: list[str | None] = []
    async with api.listen_user("7", heard.append):
        await notify_user("7", "greeting", {"n": 1})

        async def told() -> bool:
            return len(heard) == 1

        await eventually(told)
    assert heard == ['{"type":"notification","data":{"kind":"greeting","data":{"n":1}}}']
