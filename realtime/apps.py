"""The Django application of the WebSocket layer and the pages on it."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register


class RealtimeConfig(AppConfig):
    name = "realtime"
    verbose_name = "Realtime"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from realtime import checks, receivers  # noqa: PLC0415 they use Django's settings, models

        register(checks.check_room_access)
        register(checks.check_limits)
        receivers.connect()
