"""Redis is killed, and Redis hangs: nobody waits for it, and nothing is lost by it."""

import asyncio
import time

import pytest
import redis.asyncio

from tests.faults.client import all_hold
from tests.faults.conftest import OpenShop
from tests.faults.outage import lasting
from tests.faults.shop import CUSTOMERS
from tests.polling import apoll

pytestmark = pytest.mark.faults

#: Short of any outage here, so that it is seen to deliver during one.
TAIL_SECONDS = "1"
#: The bound on the API while Redis hangs: seconds for 99 of 100 requests.
P99_SECONDS = 1.0


async def test_redis_is_killed_under_load_and_comes_back_empty(open_shop: OpenShop):
    """Redis is gone for 3 s. Changes arrive meanwhile, each request is answered 200, and hints flow again after it.

    Without the tail check, nothing arrives during the outage. With a channel layer that does not subscribe again, the
    last wait fails: nobody is subscribed.
    """
    shop = open_shop(NOTIFICATION_TAIL_SECONDS=TAIL_SECONDS)
    shop.web()
    server = shop.deployment.redis
    assert server is not None
    async with shop.following() as clients:
        async with shop.writing() as log:
            async with lasting(3):
                await asyncio.to_thread(server.kill)
                await shop.more(log)
                await all_hold(clients, await shop.heads())
            await asyncio.to_thread(server.start)
            await shop.more(log)
            await groups_are_heard(server.url)
        await shop.check(clients, log)
    assert set(log.statuses) == {200}
    assert not any(client.closes for client in clients), "nobody who follows needs Redis"


async def test_redis_hangs_under_load_and_goes_on(open_shop: OpenShop):
    """For 5 s Redis accepts connections and never answers. The API goes on, sockets go on, newcomers are let in.

    With a publish that the request waits for, a request takes half a second and more; without the tail check, nothing
    arrives before Redis goes on.
    """
    shop = open_shop(NOTIFICATION_TAIL_SECONDS=TAIL_SECONDS)
    shop.web()
    server = shop.deployment.redis
    assert server is not None
    async with shop.following() as clients:
        async with shop.writing() as log:
            server.suspend()
            hung_at = time.monotonic()
            async with lasting(5), shop.joined_by(CUSTOMERS[0]) as newcomers:
                await shop.more(log)
                await all_hold([*clients, *newcomers], await shop.heads())
            answered_at = time.monotonic()
            server.resume()
            await shop.more(log)
            await groups_are_heard(server.url)
        await shop.check(clients, log)
    assert set(log.statuses) == {200}
    assert log.p99(hung_at, answered_at) < P99_SECONDS
    assert not any(client.closes for client in clients)


async def groups_are_heard(url: str) -> None:
    """Wait until a process is subscribed to the group of each customer."""
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as connection:

        async def heard() -> bool:
            groups = await connection.pubsub_channels("*user.*")
            return len(groups) == len(CUSTOMERS)

        await apoll(heard, saying="the groups of all customers are subscribed to")
