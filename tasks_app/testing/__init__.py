"""Helpers for the tests of those who write tasks; docs/testing.md shows each.

The pytest fixtures are in `tasks_app.testing.plugin`; nothing here imports pytest.
"""

from __future__ import annotations

from tasks_app.testing.clock import aadvance, advance, aexpire_leases, expire_leases
from tasks_app.testing.immediate import ImmediateBackend, Ran, ran

__all__ = [
    "ImmediateBackend",
    "Ran",
    "aadvance",
    "advance",
    "aexpire_leases",
    "expire_leases",
    "ran",
]
