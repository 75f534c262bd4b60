"""Loads the Lua scripts of the realtime layer, each with the prelude in front of it."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from tasks_app.store.scripts import Call, Script

__all__ = ["Call", "script"]

LUA = Path(__file__).parent / "lua"


@cache
def script(name: str) -> Script:
    source = "\n".join((LUA / f"{part}.lua").read_text() for part in ("_prelude", name))
    # Redis names scripts by SHA-1; nothing secret hangs on it.
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
