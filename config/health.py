"""Probes for what runs the process: `/healthz` touches nothing, `/readyz` what a request needs.

`/healthz` is answered on the event loop: threads that all wait for a lock are no reason to restart a process. `/readyz`
asks the database on one of Django's threads, the way a request would. And before Django sees them: probes come by
address, so no Host header is checked and nobody is redirected to https.
"""

from __future__ import annotations

import asyncio
import json
import time
from http import HTTPStatus
from typing import Any

from channels.layers import get_channel_layer
from django.db import Error, close_old_connections, connection

from config.server.admission import PROBES
from config.server.web_threads import Busy, WebThreads

#: Seconds that a request may wait for its thread and its first answer of the database before this process is called not
#: ready. Orchestrators ask every few seconds and give up after one to five.
READY_SECONDS = 2.0
#: Seconds for which a good answer holds, so that nobody keeps the threads busy by asking.
GOOD_SECONDS = 1.0


class Probes:
    """ASGI middleware: answers the probes, and passes everything else on."""

    def __init__(self, inner: Any, threads: WebThreads) -> None:
        self.inner = inner
        self._threads = threads
        self._check: asyncio.Task[str] | None = None
        self._began = 0.0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] not in PROBES or scope["method"] not in ("GET", "HEAD"):
            await self.inner(scope, receive, send)
            return
        probe = self.healthz if scope["path"] == "/healthz" else self.readyz
        status, body = await probe(scope["state"])
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    async def healthz(self, _state: dict[str, Any]) -> tuple[HTTPStatus, dict[str, str]]:
        """The process serves. A broken database is no reason to restart it."""
        return HTTPStatus.OK, {"status": "ok"}

    async def readyz(self, state: dict[str, Any]) -> tuple[HTTPStatus, dict[str, str]]:
        """A request would succeed: the process is not about to stop, its loops run, a thread is free, and the database
        answers it.

        What carries hints is not asked: without it nothing is lost or refused, and notifications come with the tail
        check. A layer that knows that it does not hear other processes (`hears`) is named in an answer that is good.
        """
        if state["hub"].draining:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "draining"}
        if down := [name for supervisor in state["supervisors"] for name in supervisor.down]:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "not_running": ", ".join(down)}
        if reason := await self._asked():
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "reason": reason}
        if not getattr(get_channel_layer(), "hears", True):
            return HTTPStatus.OK, {"status": "ok", "hints": "reconnecting"}
        return HTTPStatus.OK, {"status": "ok"}

    async def _asked(self) -> str:
        """Why a request would not succeed, or "". All who ask at the same time share one look."""
        check = self._check
        if check is None or (check.done() and (check.result() or time.monotonic() > self._began + GOOD_SECONDS)):
            self._began = time.monotonic()
            check = self._check = asyncio.create_task(self._look(), name="readiness")
        left = self._began + READY_SECONDS - time.monotonic()
        done, _ = await asyncio.wait({check}, timeout=max(0.0, left))
        return check.result() if done else "a request does not get its answer in time"

    async def _look(self) -> str:
        try:
            await self._threads.run("The readiness probe", _ask_database)
        except Busy:
            return "no thread is free"
        except Error:
            return "the database does not answer"
        return ""


def _ask_database() -> None:
    close_old_connections()  # one that has broken since the last request says nothing about the database now
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
