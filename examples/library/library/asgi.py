"""The library's ASGI application: pages are Django's, what waits is the engine's."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "library.settings")
pages = get_asgi_application()

from notifications.access.authentication import Authentication  # noqa: E402  (after Django is set up)
from notifications.sockets.lifespan import Lifespan  # noqa: E402
from notifications.sockets.routing import websocket_urlpatterns  # noqa: E402
from notifications.sockets.streaming import EventStream  # noqa: E402

application = ProtocolTypeRouter(
    {
        "lifespan": Lifespan(),
        "http": URLRouter([path("stream", Authentication(EventStream())), re_path("", pages)]),
        "websocket": Authentication(URLRouter(websocket_urlpatterns)),
    }
)
