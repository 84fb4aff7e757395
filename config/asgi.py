"""The ASGI application that the servers run: sockets on the event loop, Django's HTTP side on threads beside it.

Django's own ASGI handler would give each request a thread of its own, whose database connection is opened and lost
with it; on a fixed pool of threads the same views keep their connections.
"""

import asyncio
import os
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_wsgi_application()

from django.conf import settings  # noqa: E402  (after Django is set up)
from django.urls import path  # noqa: E402

from config.bodies import Bodies  # noqa: E402
from config.health import Probes  # noqa: E402
from config.metrics import count_sockets  # noqa: E402
from config.request_id import Identified  # noqa: E402
from notifications.access.authentication import Authentication  # noqa: E402
from notifications.delivery.hub import Hub  # noqa: E402
from notifications.hints import publish  # noqa: E402
from notifications.sockets.routing import http_urlpatterns, websocket_urlpatterns  # noqa: E402
from orders.board import Board, BoardConsumer  # noqa: E402


async def lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """One hub and one board for each server process, which the consumers find in `scope["state"]` (ASGI lifespan)."""
    hub: Hub | None = None
    board: Board | None = None
    counting: asyncio.Task[None] | None = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            hub = Hub(get_channel_layer())
            await hub.start()
            publish.use_loop(asyncio.get_running_loop())
            board = Board(get_channel_layer())
            scope["state"].update(hub=hub, board=board)
            counting = asyncio.create_task(count_sockets(hub), name="count-sockets")
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            publish.use_loop(None)
            if counting is not None:
                counting.cancel()
            if hub is not None:
                await hub.stop()
            if board is not None:
                await board.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


sockets = [path("ws/board", BoardConsumer.as_asgi()), *websocket_urlpatterns]
http = Bodies(WSGIMiddleware(cast(Any, django_application), workers=settings.WEB_THREADS))

application = ProtocolTypeRouter(
    {
        "lifespan": lifespan,
        "http": Identified(Probes(URLRouter(http_urlpatterns(http)))),
        "websocket": Authentication(URLRouter(sockets)),
    }
)
