"""Looking at open sockets again: what goes wrong with one of them keeps nobody else signed in."""

from __future__ import annotations

import asyncio

import pytest

from realtime import auth
from realtime.hub import Hub
from tasks_app import api
from tests.support.eventually import eventually

pytestmark = pytest.mark.django_db(transaction=True)


class Somebody:
    """Watched by the hub; keeps what it is told, and may fail then."""

    def __init__(self, number: int, failure: Exception | None = None) -> None:
        self.identity = auth.Identity(user_id="7", name="ada")
        self.credential: auth.Credential = auth.Token(f"deleted{number}")
        self.told: list[auth.Identity | None] = []
        self._failure = failure

    async def recheck(self, identity: auth.Identity | None) -> None:
        self.told.append(identity)
        if self._failure is not None:
            raise self._failure


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), auth.IdentityUnknown()])
async def test_one_that_fails_keeps_nobody_signed_in(redis_prefix: str, failure: Exception) -> None:
    hub = Hub()
    watched = [Somebody(number, failure if number == 0 else None) for number in range(3)]
    for one in watched:
        hub.watch(one)
    try:
        hub._hints.put("7")

        async def all_were_told() -> bool:
            return all(one.told == [None] for one in watched)

        await eventually(all_were_told)
    finally:
        for one in watched:
            hub.unwatch(one)
        await asyncio.sleep(0)
        await api.shutdown()
