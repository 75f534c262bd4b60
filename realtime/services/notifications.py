"""Telling a user something, on all of their sockets, from any process."""

from __future__ import annotations

from typing import Any

from realtime.services.calls import check_kind, frame


async def notify_user(user_id: str | int, kind: str, data: Any = None) -> None:
    """Send `notification` with `kind` and `data` (JSON) to every socket of the user, at once.

    Nothing is kept for who is not connected at this moment. Raises StoreUnavailable when Redis does
    not answer; ValueError or TypeError for what cannot be sent.
    """
    from tasks_app import api  # noqa: PLC0415 importing this needs no ready app registry

    check_kind(kind)
    await api.tell_user(str(user_id), frame("notification", {"kind": kind, "data": data}))
