"""Who may be in a named room: a function of the project's, asked at every action."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Collection
from typing import Any

from asgiref.sync import iscoroutinefunction
from channels.db import database_sync_to_async
from django.contrib.auth.models import AbstractBaseUser, User

from realtime import auth, conf
from realtime.domain.limits import ROOM_ACCESS_SECONDS

log = logging.getLogger(__name__)

Asked = tuple[str, str]  # user id, room
Function = Callable[[Any, str], Any]

BATCH = 50


class NobodyThere(Exception):
    """The user does not exist any more, or may not sign in."""


async def public_rooms(user: AbstractBaseUser, room: str) -> bool:  # noqa: ARG001 each function gets both
    """Let whoever is signed in enter `public:…`, and nobody any other room (the default).

    Asynchronous, to save a hop to the database's thread: it needs no database.
    """
    return room.startswith("public:")


async def may_enter(identity: auth.Identity, room: str) -> bool:
    """Ask the function that SIGNALBOX_ROOM_ACCESS names, about the user as they are now.

    One that raises, or does not answer in time, denies, and the log says so. Raises NobodyThere,
    and IdentityUnknown when the database does not answer.
    """
    user = await auth.active_user(identity)
    if user is None:
        raise NobodyThere
    try:
        async with asyncio.timeout(ROOM_ACCESS_SECONDS):
            function = conf.room_access()
            if _is_asynchronous(function):
                return bool(await function(user, room))
            return await _meant(await database_sync_to_async(function)(user, room))
    except Exception:  # the project's code: whatever goes wrong in it, nobody gets in
        log.exception("room_access_failed room=%s", room)
        return False


async def entitled(asked: Collection[Asked]) -> set[Asked]:
    """Return which users (by id) may be in which rooms; as `may_enter`, but many in one go.

    A synchronous function may take its time here. Raises IdentityUnknown.
    """
    found: set[Asked] = set()
    for some in _batches(sorted(asked)):
        users = await auth.active_users({user_id for user_id, _ in some})
        pairs = [(users[user_id], room) for user_id, room in some if user_id in users]
        for (user, room), outcome in zip(pairs, await _outcomes(pairs), strict=True):
            if await _is_yes(outcome, room):
                found.add((str(user.pk), room))
    return found


async def _outcomes(pairs: list[tuple[User, str]]) -> list[Any]:
    """Return what the function says of each, False for trouble; what must be awaited is not yet."""
    try:
        function = conf.room_access()
    except Exception:  # as above: a project that cannot be asked lets nobody in
        log.exception("room_access_failed")
        return [False] * len(pairs)
    if _is_asynchronous(function):
        return _called(function, pairs)
    outcomes: list[Any] = await database_sync_to_async(_called)(function, pairs)
    return outcomes


def _called(function: Function, pairs: list[tuple[User, str]]) -> list[Any]:
    outcomes: list[Any] = []
    for user, room in pairs:
        try:
            outcomes.append(function(user, room))
        except Exception:  # the project's code, as above
            log.exception("room_access_failed room=%s", room)
            outcomes.append(False)
    return outcomes


async def _is_yes(outcome: Any, room: str) -> bool:
    try:
        async with asyncio.timeout(ROOM_ACCESS_SECONDS):
            return await _meant(outcome)
    except Exception:  # the project's code, as above
        log.exception("room_access_failed room=%s", room)
        return False


async def _meant(outcome: Any) -> bool:
    return bool(await outcome if inspect.isawaitable(outcome) else outcome)


def _is_asynchronous(function: Function) -> bool:
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


def _batches(asked: list[Asked]) -> list[list[Asked]]:
    # Between two of them others get to the database's thread.
    return [asked[at : at + BATCH] for at in range(0, len(asked), BATCH)]
