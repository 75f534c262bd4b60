"""Executes the realtime layer's calls, over the engine's connections and with its errors.

Redis is configured once, and a process has one set of connections per event loop: so this is the
only way from here to Redis, and nothing in this package imports a driver.
"""

from __future__ import annotations

from tasks_app.store.client import arun, arun_all, run

__all__ = ["arun", "arun_all", "run"]
