"""uvicorn's HTTP on httptools, with the bounds that it lacks.

- The head of a request has a time, from the connection's beginning or its own first byte, and a size.
- Of requests that are pipelined only a few wait, and each of them learns when the client has gone: uvicorn tells the
  last one only, and an answer to an earlier one would wait for ever.
- A connection that is closed while its client reads slowly has a time to end.
- An offer to speak HTTP/2 instead is passed over. Java's client makes it with every first request, and httptools takes
  the body that follows for the other protocol's.
- While the process drains, each answer is the last one of its connection, and says so (RFC 9112, 9.6).
- Each request knows its connection (`clients.Connection`), so that the code that answers can drop it.

`config.server.admission` says which connections are let in; a surplus one reaches the probes only.
"""

from __future__ import annotations

import sys
from asyncio import TimerHandle, Transport
from http import HTTPStatus
from typing import Any

import httptools
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from config.server.admission import PROBES, connections, logger
from config.server.clients import EXTENSION, Seldom, address_of
from notifications.problems import send_problem

#: Bytes of a head: what nginx lets through by its default (large_client_header_buffers, 4 of 8 KiB), since what a proxy
#: has passed on must not fail here.
HEAD_BYTES = 32_768
#: Fields of a head, as gunicorn's and Apache's defaults have it: a browser behind two proxies sends some thirty.
HEAD_FIELDS = 100
#: Requests that may wait behind the one that is answered. Browsers pipeline none, benchmarks and some libraries a few.
PIPELINED = 16
#: Seconds that a surplus connection has for its request.
SURPLUS_SECONDS = 2.0
#: Seconds for which a refused client may go on sending. Closed at once, it would be reset, and could lose the answer.
LINGER_SECONDS = 2.0

_late = Seldom(logger, "A client at %s has not sent the head of its request in time.")


class TooMuch(Exception):
    """The head is too long, or too much is pipelined."""


class HttpProtocol(HttpToolsProtocol):
    """One connection, until it becomes a WebSocket's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: TimerHandle | None = None
        self._head_begun = False
        self._head_bytes = 0
        #: Bytes in a row of which the parser has made nothing: it keeps an unfinished field, however long.
        self._unparsed = 0
        self._parsed = False
        #: What the parser is given.
        self._received = b""
        self._is_surplus = False
        self._refused = False
        self._running: RequestResponseCycle | None = None

    # -- The connection, as `clients.Connection` has it ------------------------------------------------------------

    def gone(self) -> bool:
        return self.transport.is_closing()

    def cut_off(self) -> None:
        self._tell_all()
        self.transport.abort()

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._is_surplus = not connections.enter(self, self.client)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_surplus:
            connections.leave_surplus(self)
        else:
            connections.leave(self.client)
        self._stop_waiting_for_head()
        self._tell_all()
        super().connection_lost(exc)

    def _tell_all(self) -> None:
        """Let every request of this connection know that its client has gone."""
        for cycle in (self._running, *(waiting for waiting, _ in self.pipeline), self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()

    # -- The head --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._head_timer is None and not self._is_answering():
            self._expect_head()
        self._parsed = False
        self._received = data
        super().data_received(data)
        self._unparsed = 0 if self._parsed else self._unparsed + len(data)
        if self._unparsed > HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]  # the value is our own
        self._head_begun = True
        self._head_bytes = 0
        if self._head_timer is None:
            self._expect_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if len(self.headers) >= HEAD_FIELDS:
            raise TooMuch
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            raise TooMuch

    def on_headers_complete(self) -> None:
        self._parsed = True
        if self._is_offered_a_protocol():
            return
        self._head_begun = False
        self._stop_waiting_for_head()
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINED:
            raise TooMuch

    def on_body(self, body: bytes) -> None:
        self._parsed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._parsed = True
        if not self._is_offered_a_protocol():
            super().on_message_complete()

    def _is_offered_a_protocol(self) -> bool:
        """Whether this request offers another one than WebSocket. It is parsed again then, without the offer."""
        offered = self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers)
        return offered and not self._should_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """Called by uvicorn where the parser has stopped for another protocol. A server may pass over the offer, and
        then goes on as if there were none (RFC 9110, 7.8).
        """
        stopped = sys.exc_info()[1]
        if not (isinstance(stopped, httptools.HttpParserUpgrade) and self._is_offered_a_protocol()):
            return
        rest = self._received[stopped.args[0] :]
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)  # the other one takes no more
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(b"".join([line, *fields, b"\r\n", rest]))

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn when the parser, or a method that it calls, has raised."""
        whole = self._head_bytes <= HEAD_BYTES and len(self.headers or ()) < HEAD_FIELDS
        self._refuse(HTTPStatus.BAD_REQUEST if whole else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _expect_head(self) -> None:
        seconds = SURPLUS_SECONDS if self._is_surplus else settings.HEAD_SECONDS
        self._head_timer = self.loop.call_later(seconds, self._head_is_late)

    def _stop_waiting_for_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.flow.read_paused:  # it waits for us, behind an answer that is not done
            self._expect_head()
        elif self._head_begun:
            _late.say(address_of(self.client))
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            # Browsers open connections that they may need: these end without a word, or one would take it for an
            # answer to its next request (RFC 9110, 15.5.9).
            self.transport.close()

    # -- Answers ---------------------------------------------------------------------------------------------------

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if self._is_surplus and cycle.scope["path"] not in PROBES:
            app = _refuse_surplus
        super()._start_asgi_task(cycle, self._watched(app, cycle))

    def _watched(self, app: Any, cycle: RequestResponseCycle) -> Any:
        async def watched(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                if message["type"] == "http.response.start" and self.app_state["hub"].draining:
                    # The client hears that this answer is the last one. Otherwise its next request could be on its way
                    # when the process ends and resets the connection.
                    cycle.keep_alive = False
                await send(message)

            try:
                await app(scope, receive, sending)
            finally:
                self.loop.call_soon(self._end_in_time)  # after uvicorn has closed the connection, if it does

        return watched

    def _end_in_time(self) -> None:
        """A connection that is closed waits for the client to read the rest, but not for ever."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.loop.call_later(settings.SEND_SECONDS, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._end_in_time()

    def handle_websocket_upgrade(self) -> None:
        if self._is_answering():
            self.cut_off()  # two protocols at once on one connection
        elif self._is_surplus:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            super().handle_websocket_upgrade()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer what is no request, or no whole one, and take nothing more of this connection."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_waiting_for_head()
        if self._is_answering():
            self.cut_off()  # an answer of ours in the middle of another one would be no answer
            return
        text = f"{status.description or status.phrase}.\n".encode()
        fields = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(
            text
        )
        self.transport.write(STATUS_LINE[status] + fields + text)
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


async def _refuse_surplus(_scope: Any, _receive: Any, send: Any) -> None:
    detail = "Too many connections. Try again."
    closing = {"Connection": "close"}
    await send_problem(send, HTTPStatus.SERVICE_UNAVAILABLE, code="busy", detail=detail, headers=closing)
