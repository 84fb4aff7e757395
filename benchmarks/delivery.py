"""What Orderwire costs its server, and what the tutorial version costs beside it, in one run.

`python -m benchmarks.delivery` serves each of them with one process over a PostgreSQL and a Redis of its own, connects
one client for each of so many users, and lets another process change their orders: one by one, then all at once, once a
second. It prints the server process's CPU, its memory and what was lost. Machines differ and are shared: compare
figures of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

import psutil
from websockets.asyncio.client import ClientConnection, connect

from tests.deployment import Deployment, make_template
from tests.process import Process
from tests.servers import Postgres, create_database

#: Seconds without any frame after which what has not come is lost. The tail check brings ours within a second.
PATIENCE = 10.0

#: The tutorial version's channel layers, and what carries ours: settings of a deployment.
TUTORIAL = ("core", "pubsub")
OURS: dict[str, dict[str, str | None]] = {"redis": {}, "postgres": {"REDIS_URL": None}}
LAYERS = (*TUTORIAL, *OURS)
DEFAULT_LAYERS = (*TUTORIAL, "redis")


class Tutorial(Process):
    """The tutorial version, on uvicorn with the same parts as ours."""

    name = "tutorial"

    def __init__(self, env: Mapping[str, str]) -> None:
        super().__init__()
        self.env = dict(env)

    def command(self) -> list[str]:
        options = "--loop uvloop --http httptools --ws websockets-sansio --lifespan off --log-level warning"
        return [sys.executable, "-m", "uvicorn", "benchmarks.tutorial.asgi:application", "--host", "127.0.0.1",
                "--port", str(self.port), *options.split()]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return self.env

    def ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.connect()
        except OSError:
            return False
        connection.close()
        return True


def main(arguments: Sequence[str]) -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=DEFAULT_LAYERS, help="what is measured")
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=10, help="changes for each user, one by one and in batches")
    parser.add_argument("--requests", type=int, default=1000, help="API requests of each kind")
    options = parser.parse_args(arguments)
    with Postgres() as postgres:
        template = create_database(postgres.url)
        make_template(template)
        for layer in [name for name in options.layers if name in TUTORIAL]:
            with Deployment(template=template, server=postgres.url, LOG_LEVEL="error") as deployment:
                env = {**deployment.env, "DJANGO_SETTINGS_MODULE": "benchmarks.tutorial.settings"}
                deployment.env = env | {"TUTORIAL_LAYER": layer}
                sessions = write(deployment, f"people({options.users})").split()
                say(f"The tutorial version, {layer} layer")
                with Tutorial(deployment.env) as server:
                    asyncio.run(deliveries(deployment, server, server.pid, sessions, options.rounds, "tutorial_"))
        for layer in [name for name in options.layers if name in OURS]:
            settings = {"LOG_LEVEL": "error", "API_RATE": "1000000/min", **OURS[layer]}
            with Deployment(template=template, server=postgres.url, **settings) as deployment:
                sessions = write(deployment, f"people({options.users})").split()
                say(f"Orderwire, hints over {layer}")
                web = deployment.web()
                pid = web.worker_pids()[0]
                asyncio.run(deliveries(deployment, web, pid, sessions, options.rounds, ""))
                requests(deployment, web.port, pid, options.requests)


def write(deployment: Deployment, call: str) -> str:
    """What a function of `writers` printed."""
    return deployment.manage("shell", "--no-imports", "-c", f"from benchmarks import writers; writers.{call}")


async def deliveries(
    deployment: Deployment, server: Process, pid: int, sessions: Sequence[str], rounds: int, kind: str
) -> None:
    """Connect everybody, let the orders be changed, count what arrives."""
    process = psutil.Process(pid)
    warm = await client(server.port, sessions[0])  # whatever the first connection of a process imports
    await warm.close()
    memory, cpu = process.memory_info().rss, cpu_of(process)
    clients = [await client(server.port, session) for session in sessions]
    memory = (process.memory_info().rss - memory) // len(sessions) // 1024
    tell("connection", (cpu_of(process) - cpu) / len(sessions), f"{memory} KiB")
    for how in ("one_by_one", "in_batches"):
        expected = len(sessions) * rounds
        delays: list[float] = []
        counting = [asyncio.create_task(count(each, delays)) for each in clients]
        cpu, began = cpu_of(process), time.perf_counter()
        await asyncio.to_thread(write, deployment, f"{kind}{how}({rounds})")
        took = time.perf_counter() - began
        seen, quiet_since = -1, time.monotonic()
        while len(delays) < expected and time.monotonic() < quiet_since + PATIENCE:
            if seen != len(delays):
                seen, quiet_since = len(delays), time.monotonic()
            await asyncio.sleep(0.05)
        spent = cpu_of(process) - cpu
        for task in counting:
            task.cancel()
        await asyncio.gather(*counting, return_exceptions=True)
        p50, p99 = statistics.median(delays) * 1000, statistics.quantiles(delays, n=100)[98] * 1000
        tell(
            f"delivery, {how.replace('_', ' ')}",
            spent / len(delays),
            f"{len(delays):,} of {expected:,} delivered, some {expected / took:,.0f} a second, "
            f"change to client {p50:,.1f} ms median, {p99:,.1f} ms p99",
        )
    await asyncio.gather(*(each.close() for each in clients))


async def client(port: int, session: str) -> ClientConnection:
    """A socket that has been welcomed."""
    headers = {"Cookie": f"orderwire_session={session}", "Origin": f"http://127.0.0.1:{port}"}
    url = f"ws://127.0.0.1:{port}/ws/notifications"
    connection = await connect(url, additional_headers=headers, compression=None, proxy=None, ping_interval=None)
    await connection.recv()
    return connection


async def count(connection: ClientConnection, delays: list[float]) -> None:
    """Note the age, in seconds, of each notification that arrives."""
    async for text in connection:
        frame = json.loads(text)
        if frame["type"] == "ping":
            await connection.send('{"type":"pong"}')
        elif frame["type"] == "notification":
            delays.append(time.time() - float(frame["order"]["carrier"]))


def requests(deployment: Deployment, port: int, pid: int, number: int) -> None:
    """Requests on one connection that is kept, one after the other."""
    headers = {"Authorization": f"Bearer {write(deployment, 'token()').strip()}", "Content-Type": "application/json"}
    process = psutil.Process(pid)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for method, path, status in (
        ("GET", "/healthz", 200),
        ("GET", "/api/v1/orders/B-0", 200),
        ("PATCH", "/api/v1/orders/B-0", 200),
    ):
        for measured in (False, True):
            cpu = cpu_of(process)
            for turn in range(number if measured else 20):
                body = json.dumps({"carrier": f"{time.time()} {turn}"}) if method == "PATCH" else None
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != status:
                    raise RuntimeError(f"{method} {path} answered {answer.status}")
        tell(f"{method} {path}", (cpu_of(process) - cpu) / number, "")
    connection.close()


def cpu_of(process: psutil.Process) -> float:
    """Seconds of CPU that the process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def tell(what: str, cpu: float, rest: str) -> None:
    """One line of figures."""
    say(f"  {what:24} {cpu * 1e6:6,.0f} µs server CPU  {rest}".rstrip())


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("DEBUG", "1")
    main(sys.argv[1:])
