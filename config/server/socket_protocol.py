"""uvicorn's WebSockets, with bounds on what a client may send and on what waits for one that does not read.

The consumers count messages. Control frames and fragments are none, and what comes before a consumer listens is
nobody's: all are counted here, by a budget of frames and bytes that no honest client comes near. A client that uses it
up is dropped without a close frame.
"""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from config.server.admission import connections, logger
from config.server.clients import Seldom, address_of
from config.server.waiting import Gate, Inbox

#: Frames at once, and in each second in the long run. A consumer closes after some 40 messages in 10 s, and says why;
#: this is beyond.
FRAMES = 200
FRAMES_PER_SECOND = 10.0
#: The same for bytes. A frame of ours has a few dozen, a message up to 25,000.
BYTES = 65_536
BYTES_PER_SECOND = 8_192.0
#: Fragments of one message, of 32 KiB at most in all. Browsers send one.
FRAGMENTS = 16
#: Bytes that are parsed before the budget is looked at: some 340 of the smallest frames, which take 3 ms.
PIECE = 2_048
#: Seconds that a connection may live on when its consumer has ended: uvicorn waits 10 s for the answer to a close
#: frame, and a client that had stopped reading has as many to find it.
END_SECONDS = 20.0

_floods = Seldom(logger, "A client at %s floods its socket, and is cut off.")
_wrong_heads = Seldom(logger, "The handshake of a client at %s is too long or makes no sense.")


class SocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue = Inbox()  # type: ignore[assignment]  # what uvicorn uses of its queue and of its event
        self.writable = Gate()  # type: ignore[assignment]
        self._frames_left, self._bytes_left = float(FRAMES), float(BYTES)
        self._counted_at = self.loop.time()
        self._end_timer: TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        connections.leave(self.client)
        if self._end_timer is not None:
            self._end_timer.cancel()
        super().connection_lost(exc)

    # -- What the client sends -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
            self._shake_hands()
            return
        self._refill()
        for start in range(0, len(data), PIECE):
            if self.transport.is_closing():
                return
            piece = data[start : start + PIECE]
            self._bytes_left -= len(piece)
            super().data_received(piece)
            if self._bytes_left < 0 or self._frames_left < 0:
                self._cut_off()

    def handle_events(self) -> None:
        self._frames_left -= len(self.conn.events)
        if self._frames_left >= 0:
            super().handle_events()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= FRAGMENTS:
            self._cut_off()
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        # A client that does not read what it has, or is being closed, gets no pongs (RFC 6455, 5.5.3 allows to leave
        # some out).
        if self.writable.is_set() and not self.close_sent:
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def _refill(self) -> None:
        now = self.loop.time()
        if not self.close_sent:  # after our close nothing is expected but the client's
            seconds = now - self._counted_at
            self._frames_left = min(FRAMES, self._frames_left + seconds * FRAMES_PER_SECOND)
            self._bytes_left = min(BYTES, self._bytes_left + seconds * BYTES_PER_SECOND)
        self._counted_at = now

    def _cut_off(self) -> None:
        if not self.transport.is_closing():
            _floods.say(address_of(self.client))
            self.transport.abort()

    # -- The handshake and the end ---------------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        if self.handshake_initiated:
            # A client has nothing to say before it is accepted (RFC 6455, 4.1): what comes stays in the kernel.
            if not self.transport.is_closing():
                self.transport.pause_reading()
            return
        # The library has found the head to be too long, or not to be one. Its answer waits; uvicorn does not look.
        _wrong_heads.say(address_of(self.client))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.handshake_complete = self.close_sent = True
        self.transport.close()

    async def send(self, message: Any) -> None:
        # uvicorn lets every frame wait until the client has taken what was written before it. A client that is closed
        # because it takes nothing would never be told; now the code stands behind what it has not read yet.
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._forget_handshake()
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _forget_handshake(self) -> None:
        """Let go of the heads of the request and of the answer: 8 KiB of a browser's that nobody reads any more.

        The parser holds the request as long as the connection lasts, and so does each ASGI application the scope.
        """
        self.request.headers.clear()
        self.response.headers.clear()
        cast(list[Any], self.scope["headers"]).clear()

    async def run_asgi(self) -> None:
        try:
            await super().run_asgi()
        finally:
            if not self.disconnected:
                self._end_timer = self.loop.call_later(END_SECONDS, self.transport.abort)
