"""The project's settings with limits that a test reaches."""

from __future__ import annotations

from project.settings import *  # noqa: F403

SIGNALBOX_LIMITS = {"sockets_per_user": 3, "subscriptions": 2}
