"""Django's HTTP side under an ASGI server: the WSGI application on a fixed number of threads, which never wait.

A thread is taken when the request is whole (`bodies`), and given back when Django has made the whole answer; the event
loop sends it (`answers`). The time of a thread is Django's, whatever the client does. The bridges that there are hand
an answer over part by part, through a queue whose reader dies when a client resets a connection or pipelines, and then
the thread waits for ever: eight such connections stopped all HTTP of a process. Answers here are small. One that is not
raises, and is a server error; what is large, or has no end, belongs on the event loop (`static`, the event stream).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from http import HTTPStatus
from io import BytesIO
from typing import Any

from config.server import answers
from config.server.clients import connection_of
from config.server.web_threads import Busy, WebThreads
from notifications.problems import send_problem

#: Bytes of one answer. The largest that the API gives is a snapshot, of some 12 MB at the very most: what it lists is
#: bounded in characters (`notifications.log.stream.PAGE_CHARACTERS`).
MAX_ANSWER = 16 * 2**20

Answer = tuple[int, answers.Headers, bytes]


class AnswerTooLong(Exception):
    """A view answers with more than `MAX_ANSWER` bytes."""


class Gone(Exception):
    """The client went away before a thread came to its request."""


class Bridge:
    """ASGI application for HTTP; `application` is a WSGI one (PEP 3333). `receive` has to give the body as one part."""

    def __init__(self, application: Any, threads: WebThreads) -> None:
        self.application = application
        self.threads = threads

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = (await receive()).get("body", b"")
        try:
            answer = await self.threads.run(f"{scope['method']} {scope['path']!a}", self._call, scope, body)
        except Busy:
            detail = "Every thread is busy. Try again."
            await send_problem(send, HTTPStatus.SERVICE_UNAVAILABLE, code="busy", detail=detail)
        except Gone:
            pass
        else:
            await answers.give(scope, send, *answer)

    def _call(self, scope: dict[str, Any], body: bytes) -> Answer:
        """The whole answer, on a thread. Raises `Gone` and `AnswerTooLong`."""
        if (connection := connection_of(scope)) is not None and connection.gone():
            raise Gone
        status, headers = "", []

        def start_response(line: str, fields: list[tuple[str, str]], _error: Any = None) -> Any:
            nonlocal status, headers
            status, headers = line, fields

        parts = self.application(environ(scope, body), start_response)
        try:
            content = _joined(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return int(status[:3]), fields, content


def _joined(parts: Iterable[bytes]) -> bytes:
    found: list[bytes] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_ANSWER:
            raise AnswerTooLong(f"An answer has more than {MAX_ANSWER} bytes.")
        found.append(part)
    return found[0] if len(found) == 1 else b"".join(found)


def environ(scope: dict[str, Any], body: bytes) -> dict[str, Any]:
    """The request as WSGI has it (PEP 3333): text is bytes, decoded as latin-1.

    The length is that of the body that is here, also where the client had sent it in chunks.
    """
    host, port = scope.get("server") or ("localhost", 80)
    client = scope.get("client")
    found: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope.get("root_path", "").encode().decode("latin-1"),
        "PATH_INFO": scope["path"].removeprefix(scope.get("root_path", "")).encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 0),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if client:
        found["REMOTE_ADDR"], found["REMOTE_PORT"] = client[0], str(client[1])
    for name, value in scope["headers"]:
        key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        # Cookies are put together with a semicolon (RFC 9113, 8.2.3), everything else with a comma (RFC 9110, 5.3).
        separator = "; " if name == b"cookie" else ","
        found[key] = f"{found[key]}{separator}{text}" if key in found else text
    for name in ("CONTENT_LENGTH", "TRANSFER_ENCODING"):
        found.pop(f"HTTP_{name}", None)
    if "HTTP_CONTENT_TYPE" in found:
        found["CONTENT_TYPE"] = found.pop("HTTP_CONTENT_TYPE")
    if body:
        found["CONTENT_LENGTH"] = str(len(body))
    return found
