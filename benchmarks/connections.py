"""What a connection costs the server, and how long a whole shop takes to come back at once.

`python -m benchmarks.connections` serves Orderwire over a PostgreSQL and a Redis of its own. First one worker: clients
connect one after the other, and then all at once, by session and by ticket; what each costs in server CPU, and what an
idle socket weighs. Then two workers: `--storm` clients come back together, each with five missed notifications, while
the API is asked ten times a second. The clients speak WebSocket by hand (RFC 6455), so that they cost little
themselves: they have the same machine. Compare figures of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import httpx
import psutil
import uvloop

from benchmarks.delivery import cpu_of, say, write
from tests.deployment import Deployment, Web, make_template
from tests.servers import Postgres, create_database

#: What each client of the storm has missed.
MISSED = 5
#: Seconds after which a storm is given up.
PATIENCE = 120.0
#: Connections that are begun and not yet greeted, of all clients together: the backlog of a listener is finite.
BEGUN = 2_000


class Client(asyncio.Protocol):
    """A socket that counts frames, and is done when the `expected` have come. `numbers` are its notifications'."""

    def __init__(self, head: str, expected: int) -> None:
        self._head = head.encode()
        self._expected = expected
        self._received = b""
        self._greeted = False
        self.numbers: list[int] = []
        self.frames = 0
        self.done: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._greeted:
            head, separator, rest = self._received.partition(b"\r\n\r\n")
            if not separator:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self._fail(head.decode("latin-1"))
                return
            self._greeted, self._received = True, rest
        while (frame := self._next()) is not None:
            self._take(*frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"lost: {exc}")

    def _next(self) -> tuple[int, bytes] | None:
        """The next frame of the server's, which are whole and not masked: its opcode and what it holds."""
        buffer = self._received
        if len(buffer) < 2:  # noqa: PLR2004 -- RFC 6455, 5.2
            return None
        length, start = buffer[1], 2
        if length == 126:  # noqa: PLR2004
            length, start = int.from_bytes(buffer[2:4], "big"), 4
        if len(buffer) < start + length:
            return None
        self._received = buffer[start + length :]
        return buffer[0] & 15, buffer[start : start + length]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode != 1:
            self._fail(f"closed: {payload!r}")
            return
        if payload.startswith(b'{"type":"ping"'):
            text = b'{"type":"pong"}'
            self.transport.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)  # masked with zeros
            return
        self.frames += 1
        if payload.startswith(b'{"type":"notification"'):
            self.numbers.append(json.loads(payload)["seq"])
        if self.frames == self._expected and not self.done.done():
            self.done.set_result(time.monotonic())

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(why))


def handshake(port: int, credential: str, query: str = "") -> str:
    """The head of a browser's handshake, as long as browsers make it. A credential with a dot is a ticket's offer."""
    kind, _, secret = credential.partition(":")
    proof = (
        f"Sec-WebSocket-Protocol: orderwire.v1, ticket.{secret}"
        if kind == "ticket"
        else f"Cookie: orderwire_csrf={'x' * 32}; orderwire_session={secret}"
    )
    return "\r\n".join(
        [
            f"GET /ws/notifications{query} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Connection: Upgrade",
            "Pragma: no-cache",
            "Cache-Control: no-cache",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0",
            "Upgrade: websocket",
            f"Origin: http://127.0.0.1:{port}",
            "Sec-WebSocket-Version: 13",
            "Accept-Encoding: gzip, deflate, br, zstd",
            "Accept-Language: en-GB,en;q=0.9",
            proof,
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "\r\n",
        ]
    )


async def connect(port: int, credential: str, *, query: str = "", expected: int = 1) -> Client:
    """A client that has been sent what it expects: a `welcome`, and notifications."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        lambda: Client(handshake(port, credential, query), expected), "127.0.0.1", port
    )
    await client.done
    return client


async def at_once(credentials: Sequence[str], connecting: Callable[[str], Coroutine[Any, Any, Client]]) -> list[Client]:
    """All of them together, as far as the listener's backlog goes."""
    room = asyncio.Semaphore(BEGUN)

    async def one(credential: str) -> Client:
        async with room:
            return await connecting(credential)

    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*map(one, credentials))


async def costs(deployment: Deployment, web: Web, users: int) -> None:
    """One worker: what a connection costs it, by each credential, one by one and all at once."""
    process = psutil.Process(web.worker_pids()[0])
    sessions = [f"session:{key}" for key in write(deployment, f"people({users})").split()]
    (await connect(web.port, sessions[0])).transport.abort()
    for kind in ("session", "ticket"):
        for how in ("one by one", "all at once"):
            credentials = sessions if kind == "session" else tickets(deployment)
            memory, cpu, began = memory_of(process), cpu_of(process), time.perf_counter()
            if how == "one by one":
                clients = [await connect(web.port, credential) for credential in credentials]
            else:
                clients = await at_once(credentials, lambda credential: connect(web.port, credential))
            took, spent = time.perf_counter() - began, cpu_of(process) - cpu
            weight = (memory_of(process) - memory) / users / 1024
            say(
                f"  {f'by {kind}, {how}':24} {spent / users * 1e6:6,.0f} µs server CPU  "
                f"{users / took:6,.0f} a second  {weight:5.1f} KiB a socket"
            )
            for client in clients:
                client.transport.abort()
            await quiet(process)


async def storm(deployment: Deployment, web: Web, size: int) -> None:
    """Two workers: everybody comes back, and the API is asked meanwhile."""
    sessions = [f"session:{key}" for key in write(deployment, f"people({size})").split()]
    write(deployment, f"in_batches({MISSED})")
    token = write(deployment, "token()").strip()
    processes = [psutil.Process(pid) for pid in web.worker_pids()]
    answers: list[float] = []
    asking = asyncio.create_task(ask(web, token, answers))
    cpu, began = sum(map(cpu_of, processes)), time.monotonic()
    # The first of each buyer's notifications told of the order's creation; the others are those that were missed.
    clients = await at_once(sessions, lambda session: connect(web.port, session, query="?after=1", expected=1 + MISSED))
    last = max(client.done.result() for client in clients) - began
    spent = sum(map(cpu_of, processes)) - cpu
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    # The order that the API changes meanwhile is somebody's too, who may have got more by now.
    exact = sum(client.numbers[:MISSED] == list(range(2, 2 + MISSED)) for client in clients)
    say(
        f"  {size:,} come back, {MISSED} missed each: all live after {last:.1f} s, {exact:,} got exactly these, "
        f"{spent / size * 1e6:,.0f} µs server CPU each"
    )
    if answers:
        p99 = sorted(answers)[len(answers) * 99 // 100]
        say(f"  the API meanwhile: {len(answers)} answers, {statistics.median(answers):.2f} s median, {p99:.2f} s p99")
    for client in clients:
        client.transport.abort()


async def ask(web: Web, token: str, answers: list[float]) -> None:
    """Read an order and change it, ten requests a second, until cancelled; each one's seconds."""
    waiting: set[asyncio.Task[None]] = set()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=web.url, headers=headers, timeout=30, trust_env=False) as http:

        async def one(turn: int) -> None:
            began = time.perf_counter()
            request = {"carrier": f"{turn}"} if turn % 2 else None
            answer = await http.request("PATCH" if turn % 2 else "GET", "/api/v1/orders/B-0", json=request)
            answers.append(time.perf_counter() - began)
            if answer.status_code != httpx.codes.OK:
                raise RuntimeError(f"the API answers {answer.status_code}")

        for turn in range(round(PATIENCE * 10)):
            waiting = {task for task in waiting if not task.done()} | {asyncio.create_task(one(turn))}
            await asyncio.sleep(0.1)


def tickets(deployment: Deployment) -> list[str]:
    """One for each buyer; good for 30 s."""
    return [f"ticket:{ticket}" for ticket in write(deployment, "tickets()").split()]


def memory_of(process: psutil.Process) -> int:
    """Bytes that are the process's alone."""
    return int(process.memory_full_info().uss)


async def quiet(process: psutil.Process) -> None:
    """Until the server has let go of its sockets and uses no more CPU than an idle process."""
    while True:
        cpu = cpu_of(process)
        await asyncio.sleep(0.5)
        if cpu_of(process) - cpu < 0.05:  # noqa: PLR2004 -- a tenth of a core
            return


def main(arguments: Sequence[str]) -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--storm", type=int, default=10_000, help="clients that come back at once; 0: none")
    options = parser.parse_args(arguments)
    everybody = {"LOG_LEVEL": "error", "API_RATE": "1000000/min", "MAX_CONNECTIONS_PER_ADDRESS": "20000"}
    with Postgres() as postgres:
        template = create_database(postgres.url)
        make_template(template)
        for users, workers, run in ((options.users, "1", costs), (options.storm, "2", storm)):
            if users:
                with Deployment(template=template, server=postgres.url, **everybody) as deployment:
                    say(f"{workers} worker{'s' if workers != '1' else ''}")
                    uvloop.run(run(deployment, deployment.web(WEB_CONCURRENCY=workers), users))


if __name__ == "__main__":
    os.environ.setdefault("DEBUG", "1")
    main(sys.argv[1:])
