"""How a client of the fault tests is connected: by a WebSocket, or by server-sent events where those are blocked."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

#: The connection ended without a word: RFC 6455, 7.1.5.
ABNORMAL = 1006


class Ended(Exception):
    """The connection is over; `code` is the close code that came, or ABNORMAL."""

    def __init__(self, code: int) -> None:
        self.code = code


class Transport(Protocol):
    async def receive(self) -> dict[str, Any]:
        """The next frame; raises `Ended`."""

    async def pong(self) -> None: ...

    async def leave(self) -> None:
        """Say good-bye, as a page does that is left."""

    async def drop(self) -> None:
        """End it at once, whatever the network does."""


#: Connects to a web process (`http://…`) with a token, from after a number of a stream; None if it cannot be done now.
Connect = Callable[[str, str, int, str], Coroutine[Any, Any, Transport | None]]


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
                open_timeout=5,
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
        try:
            await self._connection.send('{"type": "pong"}')
        except ConnectionClosed as closed:
            raise Ended(closed.rcvd.code if closed.rcvd else ABNORMAL) from closed

    async def leave(self) -> None:
        await self._connection.close()

    async def drop(self) -> None:
        self._connection.transport.abort()


class EventStream:
    """`/api/v1/stream`. Its last event says what a close code would."""

    def __init__(self, http: httpx.AsyncClient, answer: httpx.Response) -> None:
        self._http = http
        self._lines = answer.aiter_lines()

    @classmethod
    async def connect(cls, url: str, token: str, after: int, stream: str) -> Self | None:
        http = httpx.AsyncClient(timeout=httpx.Timeout(5, read=None), trust_env=False)
        headers = {"Authorization": f"Bearer {token}", "Last-Event-ID": str(after)}
        request = http.build_request("GET", f"{url}/api/v1/stream?stream={stream}", headers=headers)
        try:
            answer = await http.send(request, stream=True)
        except httpx.TransportError:
            answer = None
        if answer is None or answer.status_code != httpx.codes.OK:
            await http.aclose()
            return None
        return cls(http, answer)

    async def receive(self) -> dict[str, Any]:
        try:
            async for line in self._lines:
                if line.startswith("data: "):
                    frame: dict[str, Any] = json.loads(line.removeprefix("data: "))
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
