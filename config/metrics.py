"""`/metrics` in the Prometheus text format, for all workers of this gunicorn together.

Workers share their numbers through files in PROMETHEUS_MULTIPROC_DIR, which deploy/gunicorn.conf.py makes before it
forks them; whichever worker is asked adds them up. Without gunicorn there is one process, and no files.

Who reads shows `Authorization: Bearer <METRICS_TOKEN>`. Without that setting nobody may, except with DEBUG: a proxy on
this machine makes every caller look local, so an address is no proof of anything.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from notifications.delivery.hub import Hub

REQUESTS = Counter("orderwire_http_requests_total", "Requests answered by Django.", ["method", "route", "status"])
SECONDS = Histogram(
    "orderwire_http_request_seconds",
    "Seconds from a request to its answer.",
    ["route"],
    # From a cached read to the time-outs of the database and the proxies.
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
SOCKETS = Gauge("orderwire_sockets", "Clients that follow a stream now.", multiprocess_mode="livesum")

#: Other methods are counted as one: a caller can invent them by the thousand.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Seconds between two looks at how many sockets there are. Prometheus asks every 15 s, or less often.
LOOK_SECONDS = 5


class Measured:
    """Middleware around all that Django does. Routes go by their names: numbers of orders are no labels."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = self.get_response(request)
        match = request.resolver_match
        route = match.view_name if match else "none"
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(method, route, str(response.status_code)).inc()
        SECONDS.labels(route).observe(time.perf_counter() - began)
        return response


class Metrics:
    """The first middleware of all: Prometheus comes by address, as probes do, whatever host and scheme are allowed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path == "/metrics" and request.method in ("GET", "HEAD"):
            return metrics(request)
        return self.get_response(request)


def metrics(request: HttpRequest) -> HttpResponse:
    """The numbers, or 403."""
    if not _may_read(request.headers.get("Authorization", "")):
        return HttpResponse("Send Authorization: Bearer <METRICS_TOKEN>.\n", status=403, content_type="text/plain")
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


async def count_sockets(hub: Hub) -> None:
    """Keep `SOCKETS` at what this process has, until cancelled."""
    while True:
        SOCKETS.set(hub.size)
        await asyncio.sleep(LOOK_SECONDS)


def _may_read(authorization: str) -> bool:
    if not settings.METRICS_TOKEN:
        return bool(settings.DEBUG)
    return secrets.compare_digest(authorization.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
