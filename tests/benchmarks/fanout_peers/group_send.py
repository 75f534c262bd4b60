"""A bare Channels consumer whose groups are fed by `group_send` from another process."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="the benchmark's",
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["BENCH_REDIS_URL"]]},
        }
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402 after the set-up
from channels.routing import ProtocolTypeRouter  # noqa: E402


class Consumer(AsyncWebsocketConsumer):  # type: ignore[misc] # untyped
    async def connect(self) -> None:
        self.mine = parse_qs(self.scope["query_string"].decode()).get("room", [])
        for room in self.mine:
            await self.channel_layer.group_add(room, self.channel_name)
        await self.accept()
        await self.send("ready")

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 Channels gives it
        for room in self.mine:
            await self.channel_layer.group_discard(room, self.channel_name)

    async def told(self, event: dict[str, Any]) -> None:
        await self.send(event["text"])


application = ProtocolTypeRouter({"websocket": Consumer.as_asgi()})
