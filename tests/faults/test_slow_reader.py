"""Readers that stop reading, beside many that do not: they delay nobody, cost little, and are let go of."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.deployment import Web
from tests.faults.client import all_hear_more
from tests.faults.conftest import Carried, OpenShop
from tests.faults.outage import lasting
from tests.faults.shop import Shop
from tests.polling import apoll

pytestmark = pytest.mark.faults

TOO_SLOW = 4001
STALLED = 5
#: Short, so that a test need not last a minute. Looked at every 5 s; the kernel lets go 10 s after it.
STALL_SECONDS = 3
#: How long one of them sleeps on: longer than the 2 s that the server waits for it to take a last word, and short of
#: the kernel's end, which may be 5 s away by then.
ASLEEP_SECONDS = 2.5
#: What the server's memory may grow by, in MiB, while five readers do not take the 60 MB that are theirs: what it reads
#: of the log at a time, what an outbox holds, and what Python's allocator keeps of both.
MEMORY_MIB = 30
#: How often everybody else hears something new before the five are let go of, at least. Where they are waited for,
#: nobody hears more than once.
ROUNDS = 3

#: Changes of one order of bob's, each a notification of 120 kB, made as a shop's import would make them.
MANY_CHANGES = """
from orders import services
from orders.models import Order
order = Order.objects.get(number="SO-1004")
for n in range(500):
    services.update_order(order=order, fields={"metadata": {"n": n, "filling": "x" * 120_000}})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
async def test_readers_that_stop_reading_delay_nobody_and_are_let_go_of(open_shop: OpenShop, carried: Carried):
    """Five sockets of bob's take nothing while bob gets 60 MB; 30 others go on all the time.

    Without the bound of the outbox, the server's memory grows by what they do not take. Without the check for stalled
    clients, none is let go of; where the close frame waits until they read, none is told 4001. Without
    TCP_USER_TIMEOUT, their connections stay.
    """
    shop = open_shop(STALL_SECONDS=str(STALL_SECONDS), **carried)
    web = shop.web()
    token = shop.deployment.token("bob")
    [worker] = web.worker_pids()
    async with shop.following() as clients, asleep(shop, web, token) as sleepers:
        ports = {sleeper.local_address[1] for sleeper in sleepers}
        assert connections_from(ports, web) == ports
        async with shop.writing() as log:
            memory, rounds = [psutil.Process(worker).memory_info().rss], 0
            importing = asyncio.to_thread(shop.deployment.manage, "shell", "-v", "0", "-c", MANY_CHANGES)
            async with asyncio.TaskGroup() as both:
                both.create_task(importing)
                while not all_let_go_of(web, memory):
                    await all_hear_more(clients)
                    rounds += 1
                async with lasting(ASLEEP_SECONDS):
                    pass
                # It wakes up before the kernel gives it up, and finds why it was closed behind what it had missed.
                assert await last_words(sleepers[0]) == TOO_SLOW
            await apoll(lambda: not connections_from(ports, web), saying=lambda: f"{connections_from(ports, web)} stay")
        await shop.check(clients, log)
    assert (max(memory) - memory[0]) / 2**20 < MEMORY_MIB
    assert rounds >= ROUNDS


@asynccontextmanager
async def asleep(shop: Shop, web: Web, token: str) -> AsyncIterator[list[ClientConnection]]:
    """Sockets of bob's that read their welcome and then nothing more: one frame is taken ahead, and 4 kB wait."""
    async with AsyncExitStack() as stack:
        sleepers = []
        for _ in range(STALLED):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", web.port))
            raw.setblocking(False)
            sleeper = await connect(
                f"{web.ws_url}/ws/notifications",
                sock=raw,
                additional_headers={"Authorization": f"Bearer {token}"},
                ping_interval=None,
                max_queue=1,
                proxy=None,
            )
            stack.callback(sleeper.transport.abort)
            assert json.loads(await sleeper.recv())["type"] == "welcome"
            sleepers.append(sleeper)
        yield sleepers


def all_let_go_of(web: Web, memory: list[int]) -> bool:
    """Whether the server has given up all that stalled; each look adds what its memory is now, in bytes."""
    memory += [psutil.Process(pid).memory_info().rss for pid in web.worker_pids()]
    return web.log().count("takes nothing, and is let go of") == STALLED


async def last_words(sleeper: ClientConnection) -> int:
    """Wake up: read what there is, in order, to the end. Gives the code that stands there."""
    numbers = []
    with suppress(ConnectionClosed):
        while True:
            frame = json.loads(await sleeper.recv())
            if frame["type"] == "notification":
                numbers.append(frame["seq"])
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert sleeper.close_code is not None
    return sleeper.close_code


def connections_from(ports: set[int], web: Web) -> set[int]:
    """To which of the clients' ports the server's side of the kernel still has a connection, or what is left of one.

    One that was closed in order is remembered for a minute more (TIME_WAIT), and holds nothing.
    """
    return {
        connection.raddr.port
        for connection in psutil.net_connections("tcp")
        if connection.laddr.port == web.port
        and connection.raddr
        and connection.raddr.port in ports
        and connection.status != psutil.CONN_TIME_WAIT
    }
