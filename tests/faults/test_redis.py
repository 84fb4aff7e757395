"""Redis is killed, and Redis hangs: nobody waits for it, and nothing is lost by it."""

import asyncio

import pytest
import redis.asyncio

from tests.faults.client import all_hold
from tests.faults.conftest import OpenShop
from tests.faults.outage import lasting
from tests.faults.shop import CUSTOMERS
from tests.polling import apoll
from tests.servers import Redis

pytestmark = pytest.mark.faults

#: Short of any outage here, so that it is seen to deliver during one.
TAIL_SECONDS = "1"
NEVER = "3600"


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
    """Redis accepts connections and never answers. The API goes on, sockets go on, newcomers are let in.

    With requests that wait for Redis, none is answered before it goes on, which it does only after the changes; without
    the tail check, nothing arrives before that.
    """
    shop = open_shop(NOTIFICATION_TAIL_SECONDS=TAIL_SECONDS)
    shop.web()
    server = shop.deployment.redis
    assert server is not None
    async with shop.following() as clients:
        async with shop.writing() as log:
            server.suspend()
            async with shop.joined_by(CUSTOMERS[0]) as newcomers:
                await shop.more(log, 100)
                await all_hold([*clients, *newcomers], await shop.heads())
            server.resume()
            await shop.more(log)
            await groups_are_heard(server.url)
        await shop.check(clients, log)
    assert set(log.statuses) == {200}
    assert not any(client.closes for client in clients)


async def test_one_of_two_redis_is_killed_under_load_and_the_other_carries_on(open_shop: OpenShop):
    """Two servers share the customers out among them, and no tail check helps. One of them is killed.

    Where the publisher makes a pause for all of them, the customers of the other one get next to nothing meanwhile.
    """
    with Redis() as other:
        shop = open_shop(NOTIFICATION_TAIL_SECONDS=NEVER)
        assert shop.deployment.redis is not None
        shop.deployment.env["REDIS_URL"] = f"{shop.deployment.redis.url},{other.url}"
        shop.web()
        async with shop.following() as clients:
            theirs = len(await groups_heard_at(other.url))
            assert 0 < theirs < len(CUSTOMERS)
            async with shop.writing() as log:
                await asyncio.to_thread(shop.deployment.redis.kill)
                await shop.more(log, 200)
            heads = await shop.heads()

            def served() -> set[str]:
                return set(CUSTOMERS) - {client.customer for client in clients if client.held < heads[client.customer]}

            await apoll(lambda: len(served()) >= theirs, saying=lambda: f"{theirs} customers hold all, not {served()}")
            await asyncio.to_thread(shop.deployment.redis.start)
            await groups_are_heard(shop.deployment.redis.url, other.url)
            for customer in CUSTOMERS:
                await shop.change(customer, log)
            await shop.check(clients, log)
        assert set(log.statuses) == {200}


async def groups_are_heard(*urls: str) -> None:
    """Wait until a process is subscribed to the group of each customer."""

    async def heard() -> bool:
        return sum([len(await groups_heard_at(url)) for url in urls]) == len(CUSTOMERS)

    await apoll(heard, every=0.1, saying="the groups of all customers are subscribed to")


async def groups_heard_at(url: str) -> list[str]:
    """The users' groups that some process is subscribed to at that server."""
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as connection:
        return [str(group) for group in await connection.pubsub_channels("*user.*")]
