"""Static files, served from the event loop as their readers take them; whitenoise knows the files and their headers.

On Django's threads a file of a megabyte would hold a thread for each client that loads it slowly. Here a client costs
one chunk of memory and, while its file is read, a share of `FILE_THREADS`, which wait for the disk and for no client.
What is no static file, or would be redirected to https, is passed on.
"""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.security import SecurityMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

from config.server import answers

#: Reading 64 KiB that the kernel holds takes some 10 µs, so that two threads feed any network. A cold disk is slower.
FILE_THREADS = 2
#: What whitenoise looks at (RFC 9110, 12.5.3, 13.1 and 14.2), as WSGI calls it.
LOOKED_AT = {
    b"accept-encoding": "HTTP_ACCEPT_ENCODING",
    b"if-modified-since": "HTTP_IF_MODIFIED_SINCE",
    b"if-none-match": "HTTP_IF_NONE_MATCH",
    b"range": "HTTP_RANGE",
}


class StaticFiles:
    """ASGI middleware: answers requests for static files."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self._files = WhiteNoiseMiddleware()
        self._prefix = self._files.static_prefix
        self._threads = ThreadPoolExecutor(max_workers=FILE_THREADS, thread_name_prefix="files")
        self._security = {secure: _security_headers(secure=secure) for secure in (False, True)}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        secure = scope.get("scheme") == "https"
        if not scope["path"].startswith(self._prefix) or (settings.SECURE_SSL_REDIRECT and not secure):
            await self.inner(scope, receive, send)
            return
        run = partial(get_running_loop().run_in_executor, self._threads)
        asked = {LOOKED_AT[name]: value.decode("latin-1") for name, value in scope["headers"] if name in LOOKED_AT}
        response = await run(self._respond, scope["method"], scope["path"], asked)
        if response is None:
            await self.inner(scope, receive, send)
            return
        headers = [(name.lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in response.headers]
        headers += self._security[secure]
        status = int(response.status)
        if response.file is None:
            await answers.give(scope, send, status, headers, b"")
            return
        try:
            size = int(dict(headers)[b"content-length"])
            await answers.give_parts(scope, send, status, headers, _parts(response.file, run), size)
        finally:
            response.file.close()

    def _respond(self, method: str, path: str, asked: dict[str, str]) -> Any:
        """whitenoise's response with its file open, on a thread: a disk may hesitate. None if there is no such file."""
        files = self._files
        found = files.find_file(path) if files.autorefresh else files.files.get(path)
        return None if found is None else found.get_response(method, asked)


async def _parts(file: Any, run: Any) -> AsyncIterator[bytes]:
    while part := await run(file.read, answers.CHUNK):
        yield part


def _security_headers(*, secure: bool) -> answers.Headers:
    """What Django's SecurityMiddleware adds to every answer, which these do not pass."""

    class Request(HttpRequest):
        def _get_scheme(self) -> str:
            return "https" if secure else "http"

    response = HttpResponse()
    before = {name for name, _ in response.items()}
    SecurityMiddleware(lambda _: response).process_response(Request(), response)
    return [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in response.items() if n not in before]
