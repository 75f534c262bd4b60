"""Why something cannot be started: each is one sentence for the operator."""

from __future__ import annotations


class StartRefused(Exception):
    """It cannot be started."""


class RedisMissing(StartRefused):
    """No usable Redis server program was found."""
