"""Probes for what runs the process: `/healthz` touches nothing, `/readyz` what a request needs.

Answered on the event loop: threads that all wait for a lock are no reason to restart a process. And before Django sees
them: probes come by address, so no Host header is checked and nobody is redirected to https.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from django.db import Error, close_old_connections, connection

from notifications.database import DatabaseThreads


class Probes:
    """ASGI middleware: answers the probes, and passes everything else on."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.database = DatabaseThreads("readiness")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        probe = {"/healthz": self.healthz, "/readyz": self.readyz}.get(scope["path"])
        if probe is None or scope["method"] not in ("GET", "HEAD"):
            await self.inner(scope, receive, send)
            return
        status, body = await probe(scope["state"])
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    async def healthz(self, _state: dict[str, Any]) -> tuple[HTTPStatus, dict[str, str]]:
        """The process serves. A broken database is no reason to restart it."""
        return HTTPStatus.OK, {"status": "ok"}

    async def readyz(self, state: dict[str, Any]) -> tuple[HTTPStatus, dict[str, str]]:
        """A request would succeed: the process is not about to stop, its loops run, and the database answers.

        Redis is not asked: without it nothing is lost or refused.
        """
        if state["hub"].draining:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "draining"}
        if down := [name for supervisor in state["supervisors"] for name in supervisor.down]:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "not_running": ", ".join(down)}
        try:
            await self.database.run(_ask_database)
        except Error:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "database": "does not answer"}
        return HTTPStatus.OK, {"status": "ok"}


def _ask_database() -> None:
    close_old_connections()  # one that has broken since the last probe says nothing about the database now
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
