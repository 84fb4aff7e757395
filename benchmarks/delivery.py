"""What one delivery costs the server: CPU of one web process for each notification that reaches a socket.

`python -m benchmarks.delivery` serves Orderwire over a PostgreSQL and a Redis of its own, connects clients (one for
each of so many users), and lets another process change their orders as fast as it can. It prints CPU, memory and loss;
wall times are printed too, but machines differ and are shared: compare figures of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence

import psutil
from websockets.asyncio.client import ClientConnection, connect

from tests.deployment import Deployment, Web, make_template
from tests.servers import Postgres, create_database

PEOPLE = """
from datetime import timedelta
from django.contrib.auth import get_user_model
from knox.models import AuthToken
from orders import services
for n in range({users}):
    order = services.create_order(number=f"B-{{n}}", customer=f"buyer{{n}}", notify=False)
    print(AuthToken.objects.create(order.customer, expiry=timedelta(days=1))[1])
"""

CHANGES = """
import time
from orders import services
from orders.models import Order
orders = list(Order.objects.filter(number__startswith="B-"))
for round in range({rounds}):
    for order in orders:
        services.update_order(order=order, fields={{"carrier": f"{{time.time():.6f}}"}})
"""


def main(arguments: Sequence[str]) -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args(arguments)
    with Postgres() as postgres:
        template = create_database(postgres.url)
        make_template(template)
        with Deployment(template=template, server=postgres.url, LOG_LEVEL="warning") as deployment:
            asyncio.run(measure(deployment, options.users, options.rounds))


async def measure(deployment: Deployment, users: int, rounds: int) -> None:
    """Connect, change, count."""
    tokens = deployment.manage("shell", "--no-imports", "-c", PEOPLE.format(users=users)).split()
    web = deployment.web()
    server = psutil.Process(web.worker_pids()[0])
    memory, cpu = server.memory_info().rss, _cpu(server)
    clients = [await _client(web, token) for token in tokens]
    say("connection", cpu=(_cpu(server) - cpu) / users, memory_kib=(server.memory_info().rss - memory) / users / 1024)

    delays: list[float] = []
    counting = [asyncio.create_task(_count(client, rounds, delays)) for client in clients]
    cpu, began = _cpu(server), time.perf_counter()
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "manage.py", "shell", "--no-imports", "-c", CHANGES.format(rounds=rounds), env=deployment.env
    )
    await writer.wait()
    _, lost = await asyncio.wait(counting, timeout=30)
    took, spent = time.perf_counter() - began, _cpu(server) - cpu
    delivered = len(delays)
    say(
        "delivery",
        cpu=spent / max(1, delivered),
        delivered=delivered,
        expected=users * rounds,
        a_second=delivered / took,
        median_ms=statistics.median(delays) * 1000,
        p99_ms=statistics.quantiles(delays, n=100)[98] * 1000,
    )
    for task in lost:
        task.cancel()
    await asyncio.gather(*(client.close() for client in clients))


async def _client(web: Web, token: str) -> ClientConnection:
    url = f"{web.ws_url}/ws/notifications"
    client = await connect(url, additional_headers={"Authorization": f"Bearer {token}"}, compression=None, proxy=None)
    await client.recv()
    return client


async def _count(client: ClientConnection, expected: int, delays: list[float]) -> None:
    """Each frame carries, as its carrier, when its order was changed."""
    received = 0
    while received < expected:
        frame = json.loads(await client.recv())
        if frame["type"] == "ping":
            await client.send('{"type":"pong"}')
        elif frame["type"] == "notification":
            received += 1
            delays.append(time.time() - float(frame["order"]["carrier"]))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def say(what: str, *, cpu: float, **figures: float) -> None:
    """One line of figures."""
    rest = "  ".join(f"{name} {value:,.1f}" for name, value in figures.items())
    sys.stdout.write(f"{what:12} server CPU {cpu * 1e6:,.0f} µs  {rest}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("DEBUG", "1")
    main(sys.argv[1:])
