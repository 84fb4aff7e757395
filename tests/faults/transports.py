"""How a client of the fault tests is connected: by a WebSocket, by a plain `EventSource`, or by long polling."""

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Protocol, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.faults.event_source import Parser, fails
from tests.faults.outage import lasting

#: The connection ended without a word: RFC 6455, 7.1.5.
ABNORMAL = 1006
#: Seconds that a client without a rule of its own stays away after a close, and between two tries. A browser waits
#: longer; the tests would then last longer and prove no more.
RETRY_SECONDS = 0.1
#: Seconds that a poll asks to be held for, and those after which a connection is given up that does not come about.
WAIT_SECONDS, CONNECT_SECONDS = 25, 5
#: What a poller may try again, after the answer's `Retry-After`.
AGAIN = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


class Ended(Exception):
    """The connection is over; `code` is the close code that came, the status of a poll, or ABNORMAL."""

    def __init__(self, code: int) -> None:
        self.code = code


class Failed(Exception):
    """Such a client never comes back after this."""


class Position(Protocol):
    """What the client holds, at any moment."""

    held: int
    stream: str


class Transport(Protocol):
    async def receive(self) -> dict[str, Any]:
        """The next frame; raises `Ended` or `Failed`."""

    async def pong(self) -> None: ...

    async def leave(self) -> None:
        """Say good-bye, as a page does that is left."""

    async def drop(self) -> None:
        """End it at once, whatever the network does."""


class Way(Protocol):
    """How one client connects, again and again. What it learns on the way outlives a connection."""

    @property
    def retry_seconds(self) -> float:
        """Seconds that it stays away now."""

    async def connect(self, url: str, token: str, position: Position) -> Transport | None:
        """Connect to a web process (`http://…`); None if it cannot be done now. Raises `Failed`."""


class ByWebSocket:
    """`/ws/notifications`."""

    retry_seconds = RETRY_SECONDS

    async def connect(self, url: str, token: str, position: Position) -> Transport | None:
        return await Socket.connect(url, token, position.held, position.stream)


class Socket:
    """`/ws/notifications`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, url: str, token: str, after: int, stream: str) -> Self | None:
        try:
            connection = await connect(
                f"{url.replace('http', 'ws', 1)}/ws/notifications?after={after}&stream={stream}",
                additional_headers={"Authorization": f"Bearer {token}"},
                compression=None,
                ping_interval=None,  # the protocol has its own
                open_timeout=CONNECT_SECONDS,
                close_timeout=1,
                max_queue=None,  # what has come is read, whatever else this process is doing
                proxy=None,
            )
        except (OSError, TimeoutError, InvalidHandshake, EOFError, ConnectionClosed):
            return None
        return cls(connection)

    async def receive(self) -> dict[str, Any]:
        try:
            frame: dict[str, Any] = json.loads(await self._connection.recv())
        except ConnectionClosed as closed:
            raise Ended(closed.rcvd.code if closed.rcvd else ABNORMAL) from closed
        return frame

    async def pong(self) -> None:
        # A connection that has closed meanwhile may still hold frames that were not read, `bye` above all: `receive`
        # gives them first, and then says that it is over.
        with suppress(ConnectionClosed):
            await self._connection.send('{"type": "pong"}')

    async def leave(self) -> None:
        await self._connection.close()

    async def drop(self) -> None:
        self._connection.transport.abort()


class ByEventSource:
    """`/api/v1/stream`, by one `EventSource` that is made once and never told anything.

    Its address names where the page began. The process that it reaches is a balancer's to choose, as for any client.
    """

    def __init__(self) -> None:
        self.parser = Parser()
        self._address = ""

    @property
    def retry_seconds(self) -> float:
        return self.parser.reconnection_time / 1000

    async def connect(self, url: str, token: str, position: Position) -> Transport | None:
        self._address = self._address or f"/api/v1/stream?after={position.held}&stream={position.stream}"
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self.parser.last_event_id:
            headers["Last-Event-ID"] = self.parser.last_event_id
        http = _http(token, read=None)
        try:
            answer = await http.send(http.build_request("GET", url + self._address, headers=headers), stream=True)
        except httpx.TransportError:
            await http.aclose()
            return None
        if why := fails(answer):
            await http.aclose()
            raise Failed(f"an EventSource ends for good after {why}")
        return EventStream(http, answer, self.parser)


class EventStream:
    """One connection of an `EventSource`. Its last event says what a close code would."""

    def __init__(self, http: httpx.AsyncClient, answer: httpx.Response, parser: Parser) -> None:
        self._http = http
        parser.begin()
        self._events = self._read(answer, parser)

    async def _read(self, answer: httpx.Response, parser: Parser) -> AsyncIterator[str]:
        async for text in answer.aiter_text():
            for data in parser.feed(text):
                yield data

    async def receive(self) -> dict[str, Any]:
        try:
            async for data in self._events:
                frame: dict[str, Any] = json.loads(data)
                if frame["type"] == "close":
                    raise Ended(frame["code"])
                return frame
        except (httpx.TransportError, httpx.StreamError) as error:
            raise Ended(ABNORMAL) from error
        raise Ended(ABNORMAL)

    async def pong(self) -> None:
        """Nothing can be sent, and nothing is expected."""

    async def leave(self) -> None:
        await self._http.aclose()

    async def drop(self) -> None:
        await self._http.aclose()


class ByLongPolling:
    """`/api/v1/notifications?after=&wait=25`, one request after the other."""

    def __init__(self) -> None:
        #: Seconds that the last answer has told it to wait.
        self.retry_after = 0.0

    @property
    def retry_seconds(self) -> float:
        return max(RETRY_SECONDS, self.retry_after)

    async def connect(self, url: str, token: str, position: Position) -> Transport | None:
        polls = Polls(self, _http(token, read=WAIT_SECONDS + CONNECT_SECONDS), url, position)
        try:
            await polls.greet()
        except Ended:
            await polls.drop()
            return None
        return polls


class Polls:
    """Polls as frames: the first answer is a greeting, the member `reset` is the frame of that name."""

    def __init__(self, way: ByLongPolling, http: httpx.AsyncClient, url: str, position: Position) -> None:
        self._way = way
        self._http = http
        self._url = url
        self._position = position
        self._frames: deque[dict[str, Any]] = deque()

    async def greet(self) -> None:
        page = await self._ask(limit=1)
        self._frames.append({"type": "welcome", "user": page["user"]})

    async def receive(self) -> dict[str, Any]:
        while not self._frames:
            async with lasting(self._way.retry_after):
                pass
            page = await self._ask(after=self._position.held, stream=self._position.stream, wait=WAIT_SECONDS)
            if "reset" in page:
                # What is left comes after what is lost; the snapshot has both.
                self._frames.append({"type": "reset", **page["reset"]})
            else:
                self._frames += page["results"]
        return self._frames.popleft()

    async def _ask(self, **query: Any) -> dict[str, Any]:
        if self._http.is_closed:
            raise Ended(ABNORMAL)
        try:
            answer = await self._http.get(f"{self._url}/api/v1/notifications", params=query)
        except httpx.TransportError as error:
            raise Ended(ABNORMAL) from error
        self._way.retry_after = float(answer.headers.get("Retry-After", 0))
        if answer.status_code in AGAIN:
            if not self._way.retry_after or answer.json()["request_id"] != answer.headers["X-Request-ID"]:
                raise Failed(f"a poll is not told when to come back, or by which request: {answer.text}")
            raise Ended(answer.status_code)
        if answer.status_code != httpx.codes.OK:
            raise Failed(f"a poll is answered {answer.status_code}: {answer.text}")
        page: dict[str, Any] = answer.json()
        return page

    async def pong(self) -> None:
        """A poll is not pinged."""

    async def leave(self) -> None:
        await self._http.aclose()

    async def drop(self) -> None:
        await self._http.aclose()


def _http(token: str, *, read: float | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx.Timeout(CONNECT_SECONDS, read=read),
        trust_env=False,
        verify=False,  # noqa: S501 -- plain HTTP: reading the certificates would take longer than the request
    )
