"""Probes for whoever runs the process: `/healthz` touches nothing, `/readyz` what a request needs; and `/metrics`.

The first middleware of all: probes come by address, so they are answered before the Host header is checked and before
anybody is redirected to https.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from config.metrics import metrics

Respond = Callable[[HttpRequest], HttpResponseBase]


class Probes:
    """Answers the probes, and passes everything else on."""

    def __init__(self, get_response: Respond) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        probe = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}.get(request.path)
        if probe is not None and request.method in ("GET", "HEAD"):
            return probe(request)
        return self.get_response(request)


def healthz(_request: HttpRequest) -> HttpResponse:
    """The process serves HTTP. A broken database is no reason to restart it."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """A request would succeed: the process is not about to stop, and the database answers.

    Redis is not asked: without it nothing is lost or refused.
    """
    # The server's state, which is absent under `runserver`.
    hub = request.META.get("asgi.scope", {}).get("state", {}).get("hub")
    if hub is not None and hub.draining:
        return JsonResponse({"status": "draining"}, status=503)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return JsonResponse({"status": "unavailable", "database": "does not answer"}, status=503)
    return JsonResponse({"status": "ok"})
