"""What the tutorial serves: one consumer, behind Channels' session authentication."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.tutorial.settings")
django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402  (after Django is set up)
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402


class NotificationConsumer(AsyncJsonWebsocketConsumer):
    """One socket of one user, fed by the user's group."""

    async def connect(self) -> None:
        if not self.scope["user"].is_authenticated:
            await self.close()
            return
        self.group = f"tutorial.{self.scope['user'].pk}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send_json({"type": "welcome"})

    async def disconnect(self, code: int) -> None:
        if self.scope["user"].is_authenticated:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def order_changed(self, event: dict[str, Any]) -> None:
        await self.send_json({"type": "notification", "order": event["order"]})


application = ProtocolTypeRouter(
    {"websocket": AuthMiddlewareStack(URLRouter([path("ws/notifications", NotificationConsumer.as_asgi())]))}
)
