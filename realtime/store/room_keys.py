"""Every key and channel of rooms and calls: the one place where their names are built.

A room's presence has a hash tag of its own, so that rooms spread over a Cluster. A call's key and
channel share the engine's: publishing then answers how many processes have heard it.
"""

from __future__ import annotations

from tasks_app import conf
from tasks_app.store import keys


def presence(room: str) -> str:
    """Name the sorted set of who is in a room, by last-seen (ms).

    Written by the processes with sockets in it. It goes with its last member, and expires when
    nobody renews it any more.
    """
    return f"{conf.redis_config().prefix}:presence:{{{room}}}"


def room(room: str) -> str:
    """Name the channel of a room: frames for its sockets, or "" when its presence has changed."""
    return f"{keys.current().prefix}room:{room}"


def instance(name: str) -> str:
    """Name the channel on which the sockets of one web process are asked something."""
    return f"{keys.current().prefix}instance:{name}"


def call(call_id: str) -> str:
    """Name a question's state, which expires with it, and the channel that tells of its answer."""
    return f"{keys.current().prefix}call:{call_id}"
