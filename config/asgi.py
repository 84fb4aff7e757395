"""The ASGI application that the servers run: sockets on the event loop, Django's HTTP side on threads beside it.

Django's own ASGI handler would give each request a thread of its own, whose database connection is opened and lost
with it; on a fixed pool of threads the same views keep their connections.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_wsgi_application()

from django.conf import settings  # noqa: E402  (after Django is set up)
from django.urls import path  # noqa: E402

from config.cookies import Cookies  # noqa: E402
from config.health import Probes  # noqa: E402
from config.login_queue import LogInQueue  # noqa: E402
from config.metrics import count_sockets  # noqa: E402
from config.request_id import Identified  # noqa: E402
from config.server import database  # noqa: E402
from config.server.bodies import Bodies  # noqa: E402
from config.server.bridge import Bridge  # noqa: E402
from config.server.static import StaticFiles  # noqa: E402
from config.server.web_threads import WebThreads  # noqa: E402
from notifications.access.authentication import Authentication  # noqa: E402
from notifications.database import SHARED_THREADS  # noqa: E402
from notifications.sockets.consumers import TopicConsumer  # noqa: E402
from notifications.sockets.lifespan import Lifespan  # noqa: E402
from notifications.sockets.routing import http_urlpatterns, websocket_urlpatterns  # noqa: E402
from notifications.supervision import Supervisor  # noqa: E402
from orders.board import board  # noqa: E402
from orders.frames import FRAMES  # noqa: E402


@asynccontextmanager
async def counting(state: dict[str, Any]) -> AsyncIterator[None]:
    """The number of sockets, for `/metrics`."""
    supervisor = Supervisor("metrics")
    state["supervisors"].append(supervisor)
    supervisor.start(count_sockets=partial(count_sockets, state["hub"]))
    try:
        yield
    finally:
        await supervisor.stop()


@asynccontextmanager
async def watched(state: dict[str, Any]) -> AsyncIterator[None]:
    """Django's threads, where the server looks for those that hang."""
    state["threads"] = threads
    yield


sockets = [path("ws/board", TopicConsumer.as_asgi(topic=board.name)), *websocket_urlpatterns]
threads = WebThreads(settings.WEB_THREADS)
http = Bodies(URLRouter(http_urlpatterns(LogInQueue(Bridge(django_application, threads)))))
database.tend_connections()

application = ProtocolTypeRouter(
    {
        "lifespan": Lifespan(counting, watched, topics=(board,), frames=FRAMES),
        "http": Cookies(Identified(Probes(StaticFiles(http), threads))),
        "websocket": Cookies(Authentication(URLRouter(sockets))),
    }
)

logging.getLogger(__name__).info(
    "This process opens up to %d connections to the database: WEB_THREADS (%d), %d for sockets, and %d for hints.",
    settings.WEB_THREADS + SHARED_THREADS + settings.HINT_CONNECTIONS,
    settings.WEB_THREADS,
    SHARED_THREADS,
    settings.HINT_CONNECTIONS,
)
