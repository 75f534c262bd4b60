"""The ASGI application: HTTP to Django, WebSockets to realtime, and the server's own lifespan."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django_application = get_asgi_application()

# Only now: consumers use models, which need Django set up.
from realtime.routing import application as websocket_application  # noqa: E402
from tasks_app import api  # noqa: E402
from tasks_app.rest.pacing import paced  # noqa: E402


async def lifespan(
    _scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Start and end what this process shares between requests.

    A server without lifespan, as daphne is, does neither: it starts by itself on first use, and
    the leases of what still runs at the end expire.
    """
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await api.startup()
            await send({"type": "lifespan.startup.complete"})
        else:
            await api.shutdown()
            await send({"type": "lifespan.shutdown.complete"})
            return


application = ProtocolTypeRouter(
    {
        "http": paced(django_application),
        "websocket": websocket_application,
        "lifespan": lifespan,
    }
)
