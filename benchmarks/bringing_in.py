"""How many orders a second `/orders/batch` takes: new ones, and the same ones again, unchanged.

`python -m benchmarks.bringing_in` serves Orderwire with as many processes as are told (two cores take two) over a
PostgreSQL of its own, and sends batches of 1,000 orders, each of a customer of its own, on one connection for each
process. It prints wall time, and the CPU time of the web processes and of PostgreSQL. Machines differ and are shared:
CPU says more than wall.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from benchmarks.delivery import write
from tests.deployment import Deployment, make_template
from tests.servers import Postgres, create_database

#: Orders of one request: as many as it takes.
BATCH = 1_000


def main(arguments: Sequence[str]) -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2, help="web processes, and connections")
    options = parser.parse_args(arguments)
    with Postgres() as postgres:
        template = create_database(postgres.url)
        make_template(template)
        settings = {"LOG_LEVEL": "error", "API_RATE": "1000000/min", "WEB_CONCURRENCY": str(options.processes)}
        with Deployment(template=template, server=postgres.url, **settings) as deployment:
            token = write(deployment, "token()")
            web = deployment.web()
            bodies = [body(start) for start in range(0, options.orders, BATCH)]
            say(f"{options.orders} orders, {options.processes} processes, {len(bodies[0]):,} bytes a request")
            for what in ("created", "unchanged"):
                before = cpu(web.pid), cpu(postgres.pid)
                began = time.perf_counter()
                with ThreadPoolExecutor(options.processes) as pool:
                    answers = list(pool.map(lambda one: send(web.port, token, one), bodies))
                took = time.perf_counter() - began
                done = sum(answer[what] for answer in answers)
                mine, databases = cpu(web.pid) - before[0], cpu(postgres.pid) - before[1]
                say(
                    f"{what:>9}: {done / took:6,.0f} a second by the clock. CPU of an order: {mine / done * 1e6:4.0f} "
                    f"µs web, {databases / done * 1e6:4.0f} µs PostgreSQL, so two cores that do nothing else take "
                    f"{2 * done / (mine + databases):6,.0f} a second"
                )


def body(start: int) -> bytes:
    """Orders as a shop's system has them, with two lines each."""
    orders = [
        {
            "number": f"SO-{n:07}",
            "customer": f"buyer{n:07}",
            "status": "processing",
            "placed_at": "2026-03-01T12:00:00Z",
            "currency": "EUR",
            "total": "41.80",
            "items": [
                {"sku": "TEA-01", "name": "Assam tea, second flush, 250 g", "quantity": 2},
                {"sku": "POT-03", "name": "Teapot, cast iron, 0.8 l", "quantity": 1},
            ],
            "metadata": {"channel": "web", "warehouse": "north"},
        }
        for n in range(start, start + BATCH)
    ]
    return json.dumps({"orders": orders}).encode()


def send(port: int, token: str, content: bytes) -> Any:
    """One batch, answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/orders/batch", content, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != http.client.OK or answer["refused"]:
            raise RuntimeError(str(answer)[:500])
        return answer
    finally:
        connection.close()


def cpu(pid: int) -> float:
    """CPU seconds of a process and all that it has started."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    # What a process that has ended had used stands in its parent's sum.
    return sum(sum(process.cpu_times()[:4]) for process in processes)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
