"""The engine's paths on the event loop: the socket's, the two over HTTP that wait, and what a page of another site may
ask for. The application adds its own.
"""

from typing import Any

from django.urls import path, re_path

from notifications.access.authentication import Authentication
from notifications.sockets.consumers import NotificationConsumer
from notifications.sockets.cors import Cors
from notifications.sockets.polling import LongPoll
from notifications.sockets.streaming import EventStream


async def refuse(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    """No socket lives at this path: the handshake fails with 403, and Channels logs no traceback for it."""
    await receive()
    await send({"type": "websocket.close"})


def http_urlpatterns(django_application: Any) -> list[Any]:
    """Everything that does not wait is Django's."""
    return [
        path("api/v1/stream", Cors(Authentication(EventStream()))),  # type: ignore[arg-type]  # ASGI applications
        path("api/v1/notifications", Cors(LongPoll(django_application))),  # type: ignore[arg-type]
        path("api/v1/notifications/unread-count", Cors(django_application)),  # type: ignore[arg-type]
        path("api/v1/notifications/read", Cors(django_application, "POST")),  # type: ignore[arg-type]
        path("api/v1/tickets/exchange", Cors(django_application, "POST")),  # type: ignore[arg-type]
        re_path(r"", django_application),
    ]


#: Put paths of your own before these: the last refuses everything else.
websocket_urlpatterns = [
    path("ws/notifications", NotificationConsumer.as_asgi()),
    re_path(r"", refuse),  # type: ignore[arg-type]  # an ASGI application, as URLRouter takes them
]
