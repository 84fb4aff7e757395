"""The ASGI application that the servers run: sockets on the event loop, Django's HTTP side on threads beside it.

Django's own ASGI handler would give each request a thread of its own, whose database connection is opened and lost
with it; on a fixed pool of threads the same views keep their connections.
"""

import asyncio
import os
from functools import partial
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
from notifications.delivery.topic import Watchers  # noqa: E402
from notifications.hints import publish  # noqa: E402
from notifications.sockets.consumers import TopicConsumer  # noqa: E402
from notifications.sockets.routing import http_urlpatterns, websocket_urlpatterns  # noqa: E402
from notifications.supervision import Supervisor  # noqa: E402
from orders.board import board  # noqa: E402


async def lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """What each server process has once, for the consumers to find in `scope["state"]` (ASGI lifespan)."""
    await receive()  # lifespan.startup
    layer = get_channel_layer()
    hub = Hub(layer)
    topics = {topic.name: Watchers(topic, layer) for topic in (board,)}
    counting = Supervisor("metrics")
    supervisors = [hub.supervisor, counting, *(watchers.supervisor for watchers in topics.values())]
    scope["state"].update(hub=hub, topics=topics, supervisors=supervisors)
    await hub.start()
    counting.start(count_sockets=partial(count_sockets, hub))
    publish.use_loop(asyncio.get_running_loop())
    await send({"type": "lifespan.startup.complete"})

    await receive()  # lifespan.shutdown
    publish.use_loop(None)
    await counting.stop()
    await hub.stop()
    for watchers in topics.values():
        await watchers.stop()
    await send({"type": "lifespan.shutdown.complete"})


sockets = [path("ws/board", TopicConsumer.as_asgi(topic=board.name)), *websocket_urlpatterns]
http = Bodies(WSGIMiddleware(cast(Any, django_application), workers=settings.WEB_THREADS))

application = ProtocolTypeRouter(
    {
        "lifespan": lifespan,
        "http": Identified(Probes(URLRouter(http_urlpatterns(http)))),
        "websocket": Authentication(URLRouter(sockets)),
    }
)
