"""Who may be in a named room: a function of the project's, asked at every action."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterable
from typing import Any

from asgiref.sync import iscoroutinefunction
from channels.db import database_sync_to_async
from django.contrib.auth.models import AbstractBaseUser

from realtime import auth, conf
from realtime.domain.limits import ROOM_ACCESS_SECONDS

log = logging.getLogger(__name__)


class NobodyThere(Exception):
    """The user does not exist any more, or may not sign in."""


def public_rooms(user: AbstractBaseUser, room: str) -> bool:  # noqa: ARG001 each function gets both
    """Let whoever is signed in enter `public:…`, and nobody any other room (the default)."""
    return room.startswith("public:")


async def may_enter(identity: auth.Identity, room: str) -> bool:
    """Ask the function that SIGNALBOX_ROOM_ACCESS names, about the user as they are now.

    One that raises, or does not answer in time, denies, and the log says so. Raises NobodyThere,
    and IdentityUnknown when the database does not answer.
    """
    return bool(await entitled(identity, [room]))


async def entitled(identity: auth.Identity, rooms: Iterable[str]) -> set[str]:
    """Return those of the rooms that the user may be in; as `may_enter`."""
    user = await auth.active_user(identity)
    if user is None:
        raise NobodyThere
    return {room for room in rooms if await _is_let_in(user, room)}


async def _is_let_in(user: AbstractBaseUser, room: str) -> bool:
    try:
        async with asyncio.timeout(ROOM_ACCESS_SECONDS):
            return await _ask(user, room)
    except Exception:  # the project's code: whatever goes wrong in it, nobody gets in
        log.exception("room_access_failed room=%s", room)
        return False


async def _ask(user: AbstractBaseUser, room: str) -> bool:
    function = conf.room_access()
    called: Any
    if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
        called = function(user, room)
    else:
        called = await database_sync_to_async(function)(user, room)
    if inspect.isawaitable(called):
        called = await called
    return bool(called)
