"""The consumers of `/ws/notifications` and of an application's topics: handshake, inbound frames, close codes.

Channels consumers whose events do not go through the generic dispatch: that would close old database connections on a
shared thread before every event, and put a queue and two tasks in the way of each. Frames come from the hub through the
subscriber's outbox, straight to the connection.
"""

from __future__ import annotations

from typing import Any

from channels.consumer import AsyncConsumer
from django.db import Error

from notifications import protocol
from notifications.access import tickets
from notifications.access.credentials import Credential
from notifications.delivery.subscriber import Subscriber
from notifications.delivery.topic import Watchers
from notifications.log import stream
from notifications.protocol import CloseCode
from notifications.sockets import connection
from notifications.sockets.inbound import NO_FRAMES, Frames, Rate, database, error

#: How many bad frames one connection may send before it is closed.
MAX_BAD_FRAMES = 10
#: Frames that a client may send within RATE_SECONDS: pongs and reading marks come a few a minute.
MAX_FRAMES = 30
RATE_SECONDS = 10.0


class NotificationConsumer(AsyncConsumer):
    """One socket of one user. `scope["credential"]` is `middleware`'s, `scope["state"]["hub"]` the server's."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self._receive, self._send = receive, send
        self._bad_frames = 0
        self._frames: Frames = scope["state"].get("frames", NO_FRAMES)
        self._rates: dict[str, Rate] = {}
        if (await receive())["type"] != "websocket.connect":
            return
        # A close before the accept is a bare 403, of which a browser's script learns nothing: so accept in any case.
        await send({"type": "websocket.accept", "subprotocol": _subprotocol(scope)})
        code = await self._follow(scope)
        if code is not None:
            closing = {"type": "websocket.close", "code": int(code), "reason": code.name.lower()}
            await connection.within_moments(send(closing))

    async def _follow(self, scope: dict[str, Any]) -> CloseCode | None:
        credential: Credential | CloseCode = scope["credential"]
        if isinstance(credential, CloseCode):
            return credential
        try:
            after, stream_uid = connection.position(scope["query_string"])
        except connection.BadPosition:
            return CloseCode.BAD_FRAME
        return await connection.follow(
            scope["state"]["hub"],
            credential,
            send=self._send_text,
            read=self._read,
            after=after,
            stream_uid=stream_uid,
        )

    async def _send_text(self, frame: str) -> None:
        await self._send({"type": "websocket.send", "text": frame})

    async def _read(self, subscriber: Subscriber) -> None:
        """Take the client's frames until it goes, or has sent too many that are bad."""
        rate = Rate(MAX_FRAMES, RATE_SECONDS)
        while (message := await self._receive())["type"] != "websocket.disconnect":
            frame = None
            try:
                _keep_to(rate)
                frame = protocol.parse(message.get("text"), self._frames.limits)
                await self._take(subscriber, frame)
            except protocol.BadFrame as bad:
                subscriber.outbox.put(error(bad, frame))
                # A refusal is an answer. How many there may be is bounded by how many frames.
                self._bad_frames += not isinstance(bad, protocol.Refusal)
                if self._bad_frames >= MAX_BAD_FRAMES:
                    subscriber.close(CloseCode.BAD_FRAME)
                    return

    async def _take(self, subscriber: Subscriber, frame: protocol.Inbound) -> None:
        match frame:
            case protocol.Pong():
                subscriber.pong()
            case protocol.Read(up_to):
                # The answer is the `read` frame that every socket of the user gets.
                await database.run(stream.mark_read, subscriber.credential.user_id, up_to)
            case protocol.Ticket(ticket):
                credential = await database.run(tickets.redeem, ticket)
                if credential is None or credential.user_id != subscriber.credential.user_id:
                    raise protocol.BadFrame("invalid_ticket", "The ticket is unknown, used, expired or another user's.")
                subscriber.prove(credential)
            case protocol.Other():
                answer = await self._frames.take(subscriber.credential, frame, self._rates)
                if answer is not None:
                    subscriber.outbox.put(answer)


class TopicConsumer(NotificationConsumer):
    """A socket that watches a topic beside its user's own stream: `TopicConsumer.as_asgi(topic="<name>")`.

    `scope["state"]["topics"]` holds the server's `Watchers` by topic.
    """

    def __init__(self, *, topic: str) -> None:
        self._topic = topic

    async def _follow(self, scope: dict[str, Any]) -> CloseCode | None:
        credential: Credential | CloseCode = scope["credential"]
        self._watchers: Watchers = scope["state"]["topics"][self._topic]
        if isinstance(credential, CloseCode):
            return credential
        try:
            if not await self._watchers.admits(credential.user_id):
                return CloseCode.NOT_ALLOWED
        except Error:
            return CloseCode.BUSY
        async with self._watchers.open():
            return await super()._follow(scope)

    async def _read(self, subscriber: Subscriber) -> None:
        with self._watchers.watched_by(subscriber):
            await super()._read(subscriber)


def _keep_to(rate: Rate) -> None:
    if rate.count():
        raise protocol.BadFrame("rate", f"At most {MAX_FRAMES} frames in {RATE_SECONDS:.0f} s.")


def _subprotocol(scope: dict[str, Any]) -> str | None:
    return protocol.SUBPROTOCOL if protocol.SUBPROTOCOL in scope.get("subprotocols", ()) else None
