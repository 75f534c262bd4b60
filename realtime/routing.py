"""The WebSocket part of the ASGI application: which consumer serves which address."""

from __future__ import annotations

from channels.routing import URLRouter
from django.urls import path, re_path

from realtime.consumers.document import document_socket
from realtime.consumers.events import events_socket
from realtime.consumers.unknown import unknown_socket

application = URLRouter(
    [
        path("ws/", events_socket),  # type: ignore[arg-type] # an ASGI application, no view
        # Stock Yjs clients write no slash at the end.
        re_path(r"^ws/documents/(?P<document_id>[^/]+)/?$", document_socket),  # type: ignore[arg-type] # the same
        re_path(r"", unknown_socket),  # type: ignore[arg-type] # the same
    ]
)
