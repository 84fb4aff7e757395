"""A network between clients and a server that can fail: a TCP relay on the loopback, one for each test."""

import asyncio
from typing import Self

#: Bytes taken at once from one side; what is not taken waits in the kernel, as it would on a slow line.
CHUNK = 64 * 1024


class Network:
    """Relays connections to `port`. As with a phone in a tunnel, it goes away in two ways, and comes back from both.

    `cut`: the client learns at once that its connections are gone, and no new one comes about. The server learns
    nothing: its ends stay open and silent, as those of a phone that has changed its address.

    `stall`: nothing moves, in any direction, and nobody learns anything; later everything goes on where it stopped.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server
        self._up = asyncio.Event()
        self._up.set()
        self._cut = False
        self._relays: set[asyncio.Task[None]] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        #: The server's ends of connections whose client has been cut off.
        self.abandoned: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        port: int = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def cut(self) -> None:
        self._cut = True
        for writer in self._clients:
            writer.transport.abort()

    def stall(self) -> None:
        self._up.clear()

    def restore(self) -> None:
        self._cut = False
        self._up.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._relays:
            task.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)
        for writer in self.abandoned:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Each relay is the task that start_server makes of this call.
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        self._clients.add(writer)
        try:
            if not self._cut:
                await self._relay(reader, writer)
        finally:
            self._relays.discard(task)
            self._clients.discard(writer)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ways = [
            asyncio.create_task(self._pump(reader, server_writer)),
            asyncio.create_task(self._pump(server_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            if self._cut:
                self.abandoned.add(server_writer)
            else:
                server_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes one way until that side ends; what has come while nothing moves waits."""
        while data := await reader.read(CHUNK):
            await self._up.wait()
            writer.write(data)
            await writer.drain()
