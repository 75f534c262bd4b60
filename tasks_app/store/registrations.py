"""Registers in-process coroutines: the builder of the call, and what came of it."""

from __future__ import annotations

import math
from enum import IntEnum

from tasks_app.store.scripts import Call, script


class RegisterCode(IntEnum):
    """What became of a registration."""

    TAKEN = 0
    REGISTERED = 1
    STOP_REQUESTED = 2


def register(
    prefix: str,
    *,
    task_id: str,
    token: str,
    name: str,
    item_id: str,
    instance: str,
    lease: float,
    parent_id: str,
) -> Call[RegisterCode]:
    """Build the call that writes a coroutine's record, leased to `token` for `lease` seconds."""
    args = (task_id, token, name, item_id, instance, math.ceil(lease * 1000), parent_id)
    return Call(lambda r: RegisterCode(int(r)), (prefix, *args), script("register"))
