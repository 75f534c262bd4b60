"""The WebSocket part of the ASGI application: which consumer serves which address."""

from __future__ import annotations

from channels.routing import URLRouter
from django.urls import path, re_path

from realtime.consumers.events import events_socket
from realtime.consumers.unknown import unknown_socket

application = URLRouter(
    [
        path("ws/", events_socket),  # type: ignore[arg-type] # an ASGI application, no view
        re_path(r"", unknown_socket),  # type: ignore[arg-type] # the same
    ]
)
