"""Takes a request's body in on the event loop, before one of Django's threads is taken for the request.

A thread that waited for the body would wait for the client: as many clients as there are threads, each with half a
body, would stop all of HTTP. Here a body has to come in time and to fit into memory; what it says is for Django and the
API. Its length need not be announced: `inner` gets it whole, as one message.

Memory is shared out so that nobody fills it for the others: an address has a quarter, and callers who have not shown
yet that they are somebody have half of it together. Who has: a caller whose `Authorization` the API has accepted.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from django.conf import settings

from config.server.clients import address_of
from notifications.problems import send_problem

#: Seconds for a whole body. The largest, of 2.5 MB, then needs a line of 700 kbit/s.
SECONDS = 30.0
#: Bytes of a body without any credential: a form to log in has some hundred.
ANONYMOUS_BYTES = 65_536
#: Of all the memory, what one address may hold, and all callers who are not known.
ADDRESS_SHARE, UNKNOWN_SHARE = 1 / 4, 1 / 2
#: How many callers are known: a shop has a few, and each customer's browser at most one.
KNOWN = 10_000
#: Seconds and bytes for which a refused body is read on: a client that is closed while it sends is reset, and may then
#: lose the answer.
LINGER_SECONDS, LINGER_BYTES = 2.0, 8 * 2**20

SUCCESS = range(200, 400)


class Refused(Exception):
    """This body is not taken. The arguments are those of `send_problem`."""

    def __init__(self, status: HTTPStatus, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class Gone(Exception):
    """The client went away before its body was whole."""


class Bodies:
    """ASGI middleware: `inner` gets the body as one message, and never hears of a client that went away before.

    A body that takes more than `seconds` is answered 408, one that is too long 413, one for which no memory is left
    503; 408 and 503 say when to try again.
    """

    def __init__(self, inner: Any, *, seconds: float = SECONDS, held_bytes: int | None = None) -> None:
        self.inner = inner
        self.seconds = seconds
        self._shares = Shares(settings.HELD_MEGABYTES * 2**20 if held_bytes is None else held_bytes)
        #: Hashes of the `Authorization` headers that the API has accepted, the latest last.
        self._known: OrderedDict[int, None] = OrderedDict()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        if b"content-length" not in headers and b"transfer-encoding" not in headers:
            await self.inner(scope, receive, send)
            return
        authorization = hash(headers.get(b"authorization", b""))
        body = bytearray()
        async with self._shares.held(address_of(scope.get("client")), known=authorization in self._known) as hold:
            try:
                limit = _limit(headers)
                if int(headers.get(b"content-length", 0)) > limit:
                    raise _too_long(limit)
                async with asyncio.timeout(self.seconds):
                    await _take(receive, body, limit, hold)
            except TimeoutError:
                late = Refused(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", "The body did not come in time.")
                await _refuse(send, receive, late)
            except Refused as refused:
                await _refuse(send, receive, refused)
            except Gone:
                pass
            else:
                if b"authorization" in headers and scope["path"].startswith("/api/"):
                    send = self._noting(authorization, send)
                whole = bytes(body)
                body.clear()
                await self.inner(scope, _replayed(whole, receive), send)

    def _noting(self, authorization: int, send: Any) -> Any:
        """A `send` that notes that the API has accepted this credential."""

        async def noting(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and message["status"] in SUCCESS:
                self._known[authorization] = None
                self._known.move_to_end(authorization)
                if len(self._known) > KNOWN:
                    self._known.popitem(last=False)
            await send(message)

        return noting


class Shares:
    """The memory for bodies, in bytes, and who holds how much of it."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._held = self._unknown = 0
        self._by_address: Counter[str] = Counter()

    @asynccontextmanager
    async def held(self, address: str, *, known: bool) -> AsyncIterator[Any]:
        """Gives a function that takes so many bytes more, or raises `Refused`; all are given back at the end."""
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            if (
                self._held + size > self._total
                or (address and self._by_address[address] + size > self._total * ADDRESS_SHARE)
                or (not known and self._unknown + size > self._total * UNKNOWN_SHARE)
            ):
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "Too many bodies at once. Try again.")
            mine += size
            self._count(address, size, known=known)

        try:
            yield hold
        finally:
            self._count(address, -mine, known=known)

    def _count(self, address: str, size: int, *, known: bool) -> None:
        self._held += size
        self._unknown += 0 if known else size
        self._by_address[address] += size
        if not self._by_address[address]:
            del self._by_address[address]


def _limit(headers: dict[bytes, bytes]) -> int:
    """How long this request's body may be."""
    cookie = f"{settings.SESSION_COOKIE_NAME}=".encode()
    if b"authorization" in headers or cookie in headers.get(b"cookie", b""):
        return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE or ANONYMOUS_BYTES)
    return ANONYMOUS_BYTES


def _too_long(limit: int) -> Refused:
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"The body has more than {limit} bytes.")


async def _take(receive: Any, body: bytearray, limit: int, hold: Any) -> None:
    """Fill `body`. Raises `Gone` and `Refused`."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        if len(body) + len(part) > limit:
            raise _too_long(limit)
        hold(len(part))
        body += part
        more = message.get("more_body", False)


def _replayed(body: bytes, receive: Any) -> Any:
    """A `receive` that begins with the body."""
    first = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again() -> Any:
        return next(first, None) or await receive()

    return again


async def _refuse(send: Any, receive: Any, refused: Refused) -> None:
    """Answer with a problem, and close when the client has had the time to read it."""

    async def lingering(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await send({**message, "more_body": True})
            await _read_on(receive)
            message = {**message, "body": b""}
        await send(message)

    closing = {"Connection": "close"}
    await send_problem(lingering, refused.status, code=refused.code, detail=refused.detail, headers=closing)


async def _read_on(receive: Any) -> None:
    """Take what still comes of the body, for a while, and drop it."""
    size = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while size < LINGER_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        pass
