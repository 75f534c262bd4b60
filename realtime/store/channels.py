"""Pub/sub of the realtime layer, over the process's one listening connection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from realtime.store import client, keys
from realtime.store.scripts import Call
from tasks_app.store.subscriptions import subscriptions

Listener = Callable[[str | None], None]


def listen_room(room: str, listener: Listener) -> AbstractAsyncContextManager[None]:
    """Call `listener` with each frame for the room, "" for a changed presence, None for a gap."""
    return subscriptions().listening(keys.room(room), listener)


def listen_instance(instance: str, listener: Listener) -> AbstractAsyncContextManager[None]:
    """Call `listener` with each question for a session of that process; see calls.py."""
    return subscriptions().listening(keys.instance(instance), listener)


async def publish_to_room(room: str, frame: str) -> None:
    """Hand a frame to every process with sockets in the room; raises StoreUnavailable."""
    await client.arun(Call(int, ("PUBLISH", keys.room(room), frame)))
