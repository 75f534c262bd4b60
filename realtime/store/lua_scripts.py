"""Loads the Lua scripts of the realtime layer."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from tasks_app.store.scripts import Script

LUA = Path(__file__).parent / "lua"


@cache
def script(name: str) -> Script:
    source = (LUA / f"{name}.lua").read_text()
    # Redis names scripts by SHA-1; nothing secret hangs on it.
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
