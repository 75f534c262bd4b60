"""Every key and channel of the realtime layer's own: the one place where their names are built.

All begin with the same prefix as the engine's. In Cluster mode each pool and each room carries its
own hash tag, so that they may be on different nodes, and one script finds all it touches. Instances
and calls carry the engine's: all processes listen at that node, so it alone can say who heard.
"""

from __future__ import annotations

from tasks_app import conf


def session_pool() -> str:
    """Name the sorted set of sessions: a session's card (JSON) by the last sign of it (ms).

    Removed at disconnect, by the clean-up, and as a whole at the time-out.
    """
    return _name("session_pool")


def usage_pool() -> str:
    """Name the sorted set of models in use: model id by its last ping (ms).

    Its scripts append `:` and a model id: the sorted set of the sessions that use it, likewise.
    Both are removed at disconnect, by the clean-up, and as a whole at the time-out.
    """
    return _name("usage_pool")


def usage_changes() -> str:
    """Name the channel that says: the models in use may have changed, read them."""
    return f"{usage_pool()}:changes"


def presence(room: str) -> str:
    """Name the sorted set of who is in a room on which process, by last-seen (ms).

    It goes with its last member, and expires when nobody renews it any more.
    """
    return f"{_room(room)}:presence"


def room(room: str) -> str:
    """Name the channel of a room: frames for its sockets, or "" when its presence has changed."""
    return _room(room)


def _room(room: str) -> str:
    # One slot for both, so that in a Cluster too one node tells all about a room, in order.
    return _name(f"room:{room}")


def instance(name: str) -> str:
    """Name the channel on which the sockets of one web process are asked something."""
    return _beside_the_engine(f"instance:{name}")


def call(call_id: str) -> str:
    """Name a question's state, which expires with it, and the channel that tells of its answer."""
    return _beside_the_engine(f"call:{call_id}")


def _name(name: str) -> str:
    config = conf.redis_config()
    return f"{{{config.prefix}:{name}}}" if config.cluster else f"{config.prefix}:{name}"


def _beside_the_engine(name: str) -> str:
    config = conf.redis_config()
    return f"{{{config.prefix}}}:{name}" if config.cluster else f"{config.prefix}:{name}"
