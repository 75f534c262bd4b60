"""Lookups that are gathered: few goes, nobody's answer from before the question, nobody's harm."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest
from django.contrib.auth.models import User

from realtime import auth
from realtime.gathering import BATCH, Gathering
from tasks_app.services.tokens import create_token


class Away(Exception):
    """Nothing can be looked up."""


class Shelf:
    """Something to look things up in, whose goes are counted and can be held."""

    def __init__(self) -> None:
        self.things = {number: str(number) for number in range(1000)}
        self.goes: list[int] = []
        self.is_looked_at = asyncio.Event()
        self.is_free = asyncio.Event()
        self.is_free.set()
        self.is_away = False

    async def look(self, keys: Collection[int]) -> dict[int, str]:
        self.goes.append(len(keys))
        self.is_looked_at.set()
        if self.is_away:
            raise Away
        if -1 in keys:
            raise ValueError("a key that nobody can look up")
        found = {key: self.things[key] for key in keys if key in self.things}
        await self.is_free.wait()
        return found


@pytest.fixture
async def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def gathering(shelf: Shelf) -> Gathering[int, str]:
    return Gathering(shelf.look, away=Away)


async def test_many_questions_are_few_goes(shelf: Shelf, gathering: Gathering[int, str]) -> None:
    numbers = [*range(4 * BATCH), 5000]
    answers = await asyncio.gather(*map(gathering.find, numbers))
    assert answers == [*map(str, range(4 * BATCH)), None]
    assert sum(shelf.goes) == len(numbers)
    assert len(shelf.goes) == 5
    assert max(shelf.goes) == BATCH


async def test_an_answer_is_never_from_before_the_question(
    shelf: Shelf, gathering: Gathering[int, str]
) -> None:
    shelf.is_free.clear()
    first = asyncio.create_task(gathering.find(7))
    await shelf.is_looked_at.wait()
    del shelf.things[7]
    second = asyncio.create_task(gathering.find(7))
    await asyncio.sleep(0)
    shelf.is_free.set()
    assert await first == "7"
    assert await second is None


async def test_what_one_key_does_is_told_to_its_asker_only(gathering: Gathering[int, str]) -> None:
    answers = await asyncio.gather(*map(gathering.find, (1, -1, 2)), return_exceptions=True)
    assert answers[::2] == ["1", "2"]
    assert isinstance(answers[1], ValueError)


async def test_away_is_told_to_all_after_one_go(
    shelf: Shelf, gathering: Gathering[int, str]
) -> None:
    shelf.is_away = True
    answers = await asyncio.gather(*map(gathering.find, (1, 2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Away, Away]
    assert shelf.goes == [2]
    shelf.is_away = False
    assert await gathering.find(1) == "1"


async def test_one_who_gives_up_takes_nobody_along(
    shelf: Shelf, gathering: Gathering[int, str]
) -> None:
    shelf.is_free.clear()
    impatient, patient = (asyncio.create_task(gathering.find(3)) for _ in range(2))
    await shelf.is_looked_at.wait()
    impatient.cancel()
    await asyncio.wait([impatient])
    shelf.is_free.set()
    assert await patient == "3"
    assert impatient.cancelled()


@pytest.mark.django_db(transaction=True)
async def test_who_signs_in_at_once_is_looked_up_together(monkeypatch: pytest.MonkeyPatch) -> None:
    goes: list[int] = []
    look = auth._identities

    def counted(credentials: Collection[auth.Credential]) -> dict[auth.Credential, auth.Identity]:
        goes.append(len(credentials))
        return look(credentials)

    monkeypatch.setattr(auth, "_identities", counted)
    user = await User.objects.acreate(username="ada")
    tokens = [
        auth.Token(await asyncio.to_thread(create_token, user, name=str(n))) for n in range(9)
    ]
    found = await asyncio.gather(*map(auth.identify, [*tokens, auth.Token("wrong")]))
    assert [one and one.name for one in found] == ["ada"] * 9 + [None]
    assert goes == [10]
