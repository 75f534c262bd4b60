"""Every key and channel of the realtime layer's own: the one place where their names are built.

All begin with the same prefix as the engine's. In Cluster mode each pool carries its own hash tag,
so that pools and engine may be on different nodes, and one pool's script finds all it touches.
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


def _name(name: str) -> str:
    config = conf.redis_config()
    return f"{{{config.prefix}:{name}}}" if config.cluster else f"{config.prefix}:{name}"
