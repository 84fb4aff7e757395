"""What is served on the event loop: the sockets' paths, and the two HTTP paths that wait."""

from typing import Any

from django.urls import path, re_path

from notifications.board import BoardConsumer
from notifications.consumers import NotificationConsumer
from notifications.middleware import Authentication
from notifications.streaming import EventStream, LongPoll


async def refuse(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    """No socket lives at this path: the handshake fails with 403, and Channels logs no traceback for it."""
    await receive()
    await send({"type": "websocket.close"})


def http_urlpatterns(django_application: Any) -> list[Any]:
    """Everything that does not wait is Django's."""
    return [
        path("api/v1/stream", Authentication(EventStream())),  # type: ignore[arg-type]  # ASGI applications, as below
        path("api/v1/notifications", LongPoll(django_application)),  # type: ignore[arg-type]
        re_path(r"", django_application),
    ]


websocket_urlpatterns = [
    path("ws/notifications", NotificationConsumer.as_asgi()),
    path("ws/board", BoardConsumer.as_asgi()),
    re_path(r"", refuse),  # type: ignore[arg-type]  # an ASGI application, as URLRouter takes them
]
