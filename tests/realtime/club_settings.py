"""A project that says itself who may enter which room."""

from __future__ import annotations

from project.settings import *  # noqa: F403

SIGNALBOX_ROOM_ACCESS = "tests.realtime.club.may_enter"
