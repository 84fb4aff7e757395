"""gunicorn's worker class: uvicorn, with the settings that sockets need and a drain before the end.

`deploy/gunicorn.conf.py` names it. uvicorn closes every socket at once when it is told to stop, and all browsers of a
shop come back in the same second; here they are told good-bye over `DRAIN_SECONDS` first.
"""

from __future__ import annotations

import asyncio
import gc
import mmap
import signal
import socket
import sys
from typing import Any, ClassVar

from django.conf import settings
from gunicorn.arbiter import Arbiter
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from config.server.admission import bound_by_open_files
from config.server.http_protocol import HttpProtocol
from config.server.socket_protocol import SocketProtocol

#: How often a process that ends looks whether its connections have ended, in seconds: often within any drain.
LOOK_SECONDS = 0.1

#: How many objects more than before there are when the collector looks at the youngest: Python's own 700 are those of
#: ten connections or three requests.
YOUNG_OBJECTS = 10_000

#: How often gunicorn has reloaded, in memory that its workers share.
_reloads = mmap.mmap(-1, 1)


def reloading() -> None:
    """gunicorn is about to start new workers in place of those there are (its hook `on_reload`)."""
    _reloads[0] = (_reloads[0] + 1) % 256


def spare_the_collector() -> None:
    """Leave out of Python's cyclic garbage collection what lives as long as the process: 115,000 objects of modules.

    The rest is looked through less often. A connection is some dozens of objects that stay, so that a storm of them
    would otherwise set off one collection after the other, and a whole one stops every socket for as long as it takes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


class DrainingServer(Server):
    """A uvicorn server that says good-bye to its sockets before it shuts down."""

    def __init__(self, *args: Any, reloads: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reloads = reloads

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's, ten times a second; once a second look for threads that hang."""
        if counter % 10 == 0 and not self.should_exit and self.lifespan.state["threads"].look():
            # As if gunicorn had said it, and with the signal at the end, since threads that hang end by nothing else.
            self.handle_exit(signal.SIGTERM, None)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._reloads != _reloads[0]:
            # New workers listen on the same port already: leave the newcomers to them. Without new workers, go on
            # answering, so that a load balancer sees readiness fail before it sees a closed door.
            for server in self.servers:
                server.close()
        drain = asyncio.gather(self.lifespan.state["hub"].drain(settings.DRAIN_SECONDS), self._connections_end())
        while not drain.done() and not self.force_exit:
            if self.config.callback_notify is not None:
                await self.config.callback_notify()  # or gunicorn takes the worker for dead
            await asyncio.wait({drain}, timeout=1)
        await super().shutdown(sockets)

    async def _connections_end(self) -> None:
        """Wait while there are connections, for `DRAIN_SECONDS` at most.

        A connection that has been answered during the drain is over (`HttpProtocol`). One that is kept alive and idle
        may carry a request at any moment, which would be lost if the connection was closed now.
        """
        for _ in range(round(settings.DRAIN_SECONDS / LOOK_SECONDS)):
            if not self.server_state.connections:
                return
            await asyncio.sleep(LOOK_SECONDS)


class Worker(UvicornWorker):
    """One process: an event loop with its hub, and Django's threads beside it."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": HttpProtocol,
        "ws": SocketProtocol,
        "lifespan": "on",
        # The longest frame is a message of 2,000 characters, each of which JSON may write in 12 bytes; uvicorn's own
        # default would buffer 16 MiB for each connection.
        "ws_max_size": 32_768,
        # The protocol has pings of its own, which carry the head; a second kind would only cost.
        "ws_ping_interval": None,
        # A notification is one small frame: compressing it costs more CPU and memory than the bytes it saves.
        "ws_per_message_deflate": False,
        # uvicorn-worker would wait for ever for requests that do not end.
        "timeout_graceful_shutdown": 10,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reloads = _reloads[0]  # in gunicorn's own process, before the fork

    async def _serve(self) -> None:
        """`UvicornWorker`'s, with another server."""
        self.config.app = self.wsgi
        trusted = ProxyHeadersMiddleware(self.wsgi, self.config.forwarded_allow_ips).trusted_hosts
        bound_by_open_files(trusted)
        spare_the_collector()
        server = DrainingServer(self.config, reloads=self._reloads)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
