"""Lets few log-ins at a time onto Django's threads; the others wait on the event loop, where waiting costs nothing.

`config.asgi` puts it in front of the threads. A password takes a third of a second of a core to hash: as many log-ins
at once as there are threads would stop everything else. Counting attempts is `config.guessing`'s.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.urls import reverse

#: Log-ins on threads at once: one that hashes, and one that stands ready where that leaves a thread to everything else.
AT_ONCE = 2
#: Log-ins that wait in a process, and those of one address among them. Some three are hashed in a second, so more than
#: that would wait for nothing.
WAITING = 45
WAITING_PER_ADDRESS = 16
#: Seconds for which somebody waits for a log-in before reloading the page.
SECONDS = 15.0

BUSY = b"Too many people are logging in at this moment. Try again in a minute.\n"


class LogInQueue:
    """ASGI middleware around the threads."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.paths = {reverse("login"), reverse("admin:login")}
        self._turns = asyncio.Semaphore(max(1, min(AT_ONCE, settings.WEB_THREADS - 1)))
        self._waiting: Counter[str] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["method"] != "POST" or scope["path"] not in self.paths:
            await self.inner(scope, receive, send)
        elif await self._turn((scope.get("client") or [""])[0]):
            try:
                await self.inner(scope, receive, send)
            finally:
                self._turns.release()
        else:
            headers = [
                (b"content-type", b"text/plain"),
                (b"retry-after", b"60"),
                (b"content-length", b"%d" % len(BUSY)),
            ]
            status = int(HTTPStatus.SERVICE_UNAVAILABLE)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": BUSY})

    async def _turn(self, address: str) -> bool:
        """Whether it is this request's turn now; False if that would take too long."""
        if self._waiting.total() >= WAITING or self._waiting[address] >= WAITING_PER_ADDRESS:
            return False
        self._waiting[address] += 1
        try:
            async with asyncio.timeout(SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
        return True
