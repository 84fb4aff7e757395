"""The push: after the commit, never in its way, and from wherever a commit may happen."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction

from notifications.hints import messages, publish, sender
from notifications.hints.layers import GROUP, RedisLayer, shard_of
from notifications.log import stream
from orders import services
from orders.models import Order
from tests.database import EMBEDDED, together
from tests.deployment import machine_environment
from tests.notifications.conftest import Database, event, published_to, tell, tell_one_by_one
from tests.orders.conftest import make_order
from tests.polling import PATIENCE, apoll
from tests.process import ROOT
from tests.servers import Redis, with_database

with_redis = pytest.mark.skipif(EMBEDDED, reason="the embedded default has no Redis")


class Ear:
    """Hears what is sent to a user's group, on a layer of its own."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.channel: str

    async def join(self, *users: User) -> None:
        self.channel = await self.layer.new_channel()
        for user in users:
            await self.layer.group_add(publish.group_of(user.pk), self.channel)

    async def hears(self) -> dict[str, Any]:
        """The next hint."""
        async with asyncio.timeout(PATIENCE):
            message: dict[str, Any] = await self.layer.receive(self.channel)
        return message

    async def hears_heads(self, count: int) -> list[int]:
        return [(await self.hears())["head"] for _ in range(count)]


@pytest.fixture
async def ear(alice: User, database: Database, serving: None) -> AsyncIterator[Ear]:
    """Alice's, on the session's layer; hints are published on this test's loop, as on a server's."""
    layer: Any = (
        InMemoryChannelLayer()
        if EMBEDDED
        else RedisLayer(urls=[os.environ["REDIS_URL"]], prefix=settings.CHANNEL_PREFIX)
    )
    heard = Ear(layer)
    await heard.join(alice)
    with published_to(layer):
        yield heard
    await layer.flush()


@pytest.fixture
async def redis_of_its_own(alice: User, database: Database, serving: None) -> AsyncIterator[tuple[Redis, Ear]]:
    """A Redis that a test may break, and alice's ear on it."""
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        heard = Ear(layer)
        await heard.join(alice)
        with published_to(layer):
            yield server, heard
        await layer.flush()


async def test_a_hint_follows_the_commit_and_carries_the_frames(ear: Ear, alice: User, database: Database):
    await database(tell, alice, 2, note="späť")
    entries = (await database(stream.read_after, {alice.pk: 0}))[alice.pk]
    position = await database(stream.position, alice.pk)
    hint = await ear.hears()
    assert [list(entry) for entry in hint.pop("entries")] == [list(entry) for entry in entries]
    assert hint == {
        "type": "stream.appended",
        "user": str(alice.pk),
        "uid": position.uid,
        "head": 2,
    }


async def test_what_is_rolled_back_is_never_sent(ear: Ear, alice: User, database: Database):
    def roll_back() -> None:
        with transaction.atomic():
            stream.append([event(alice), event(alice)])
            transaction.set_rollback(True)

    await database(roll_back)
    await database(tell, alice)
    assert (await ear.hears())["head"] == 1


async def test_nothing_is_sent_before_the_outermost_commit(ear: Ear, alice: User, database: Database):
    def two_in_one() -> None:
        with transaction.atomic():
            with transaction.atomic():
                tell(alice)
            # A hint that went out here would tell of a number that a rollback may still take back.
            asyncio.run_coroutine_threadsafe(
                ear.layer.group_send(publish.group_of(alice.pk), {"type": "test.marker", "head": -1}), loop
            ).result()

    loop = asyncio.get_running_loop()
    await database(two_in_one)
    assert await ear.hears_heads(2) == [-1, 1]


async def test_a_large_batch_is_announced_by_its_head_alone(ear: Ear, alice: User, database: Database):
    await database(tell, alice, messages.MAX_FRAMES + 1)
    hint = await ear.hears()
    assert (hint["head"], hint["entries"]) == (messages.MAX_FRAMES + 1, [])


async def test_large_frames_are_announced_by_their_head_alone(ear: Ear, alice: User, database: Database):
    await database(tell, alice, note="x" * (messages.MAX_CHARACTERS + 1))
    assert (await ear.hears())["entries"] == []


async def test_hints_of_one_user_arrive_in_the_order_of_their_numbers(ear: Ear, alice: User, database: Database):
    await database(together, *[partial(tell_one_by_one, alice, 10)] * 4)
    # Threads that commit one after the other may hand over their hints the other way round: that is the hub's to bear.
    assert sorted(await ear.hears_heads(40)) == list(range(1, 41))


async def test_a_changed_order_is_announced_by_whichever_way_it_was_saved(ear: Ear, alice: User, database: Database):
    def save_by_hand() -> None:
        order = Order.objects.get()
        order.status = "delivered"
        order.save()

    order = await database(make_order)
    await database(services.change_status, order=order, to="shipped")
    await database(save_by_hand)
    await database(lambda: services.update_order(order=order, fields={"carrier": "DHL"}, notify=False))
    await database(stream.mark_read, alice.pk, 2)
    assert await ear.hears_heads(3) == [1, 2, 3]
    uid = (await database(stream.position, alice.pk)).uid
    assert await ear.hears() == {"type": "stream.read", "user": str(alice.pk), "uid": uid, "up_to": 2, "unread": 1}


async def test_the_queue_is_bounded_and_what_is_beyond_is_dropped(
    ear: Ear, alice: User, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(publish, "MAX_WAITING", 3)
    # On a thread that this one waits for: the loop, which would send, stands still meanwhile.
    thread = threading.Thread(target=together, args=[lambda: tell_one_by_one(alice, 5)])
    thread.start()
    thread.join()
    assert await ear.hears_heads(3) == [1, 2, 3]
    await database(tell, alice)
    assert await ear.hears_heads(1) == [6]
    assert [record.message for record in caplog.records] == [
        f"A hint for {publish.group_of(alice.pk)} is dropped: 3 wait already."
    ] * 2


@with_redis
@pytest.mark.parametrize("trouble", ["kill", "suspend"])
async def test_commits_do_not_wait_for_a_redis_in_trouble(
    trouble: str,
    redis_of_its_own: tuple[Redis, Ear],
    alice: User,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
):
    server, _ = redis_of_its_own
    monkeypatch.setattr(sender, "REST_SECONDS", 0.0)  # it is tried again and again
    getattr(server, trouble)()
    # If each waited for its hint to be given up, these would take twice as long as a test's patience lasts.
    commits = int(2 * PATIENCE / publish.SEND_TIMEOUT)
    async with asyncio.timeout(PATIENCE):
        await database(tell_one_by_one, alice, commits)
    assert (await database(stream.position, alice.pk)).head == commits


@with_redis
async def test_hints_come_again_once_redis_does(
    redis_of_its_own: tuple[Redis, Ear], alice: User, database: Database, caplog: pytest.LogCaptureFixture
):
    server, ear = redis_of_its_own
    server.suspend()

    async def is_given_up() -> bool:
        await database(tell, alice)
        return "A Redis rests" in caplog.text

    await apoll(is_given_up)
    server.resume()

    async def is_heard() -> bool:
        await database(tell, alice)
        try:
            async with asyncio.timeout(0.1):
                return bool(await ear.hears())
        except TimeoutError:
            return False

    await apoll(is_heard)


@with_redis
async def test_one_redis_of_several_that_hangs_takes_no_hints_of_the_others_along(database: Database, serving: None):
    with Redis() as healthy, Redis() as hanging:
        urls = [healthy.url, hanging.url]
        layer = RedisLayer(urls=urls)
        groups = [f"topic.{number}" for number in range(250)]
        ear = Ear(layer)
        ear.channel = await layer.new_channel()
        for group in groups:
            await layer.group_add(group, ear.channel)
        hanging.suspend()
        with published_to(layer):
            for group in groups:
                await database(publish.on_commit, publish.Touched(group, [group]))
            heard: set[str] = set()

            async def listen() -> None:
                while True:
                    heard.update((await ear.hears())["keys"])

            listening = asyncio.create_task(listen())
            expected = {group for group in groups if shard_of(f"asgi{GROUP}{group}", len(urls)) == 0}
            assert 0 < len(expected) < len(groups)
            await apoll(lambda: heard >= expected, saying=lambda: f"{len(expected - heard)} hints are lost")
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        hanging.resume()
        await layer.flush()


async def test_a_loop_that_ended_in_the_middle_of_a_hint_does_not_silence_the_next(
    alice: User, database: Database, ear: Ear
):
    class Stuck(InMemoryChannelLayer):
        """Says that it was asked, and never answers."""

        asked = threading.Event()

        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            self.asked.set()
            await asyncio.Event().wait()

    async def serve_and_end() -> None:
        publish.use_loop(asyncio.get_running_loop())
        together(lambda: tell(alice))
        await asyncio.get_running_loop().run_in_executor(None, Stuck.asked.wait)

    with published_to(Stuck()):
        await database(lambda: asyncio.run(serve_and_end()))
    publish.use_loop(asyncio.get_running_loop())
    await database(tell, alice)
    assert await ear.hears_heads(1) == [2]


# Other processes: each is a Python of its own on the test's database and on a Redis of the test's.


def program(code: str, redis_url: str) -> None:
    """Run that code in a Django of its own; AssertionError with its output if it fails or warns of anything."""
    env = {
        **machine_environment(),
        "DEBUG": "1",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": with_database(os.environ["DATABASE_URL"], connection.settings_dict["NAME"]),
        "REDIS_URL": redis_url,
    }
    setup = "import django; django.setup()\nfrom orders import services\nfrom orders.models import Order\n"
    done = subprocess.run(
        [sys.executable, "-c", setup + code], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@with_redis
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_command_that_exits_at_once_has_sent_its_hint(host: str, ear: Ear, alice: User, database: Database):
    await database(make_order)
    url = os.environ["REDIS_URL"].replace("127.0.0.1", host)
    change = "services.change_status(order=Order.objects.get(), to='shipped')"
    await database(program, change, url)
    assert await ear.hears_heads(2) == [1, 2]


@with_redis
async def test_a_forked_process_publishes_for_itself(ear: Ear, alice: User, database: Database):
    await database(make_order)
    fork = """
import os
from django.db import connections
services.change_status(order=Order.objects.get(), to='processing')
connections.close_all()
if pid := os.fork():
    os.waitpid(pid, 0)
else:
    services.change_status(order=Order.objects.get(), to='shipped')
"""
    await database(program, fork, os.environ["REDIS_URL"])
    assert sorted(await ear.hears_heads(3)) == [1, 2, 3]


@with_redis
async def test_a_process_that_published_before_it_served_ends(ear: Ear, alice: User, database: Database):
    await database(make_order)
    code = """
import asyncio
from notifications.hints import messages, publish, sender
services.change_status(order=Order.objects.get(), to='processing')

async def serve():
    publish.use_loop(asyncio.get_running_loop())
    await asyncio.to_thread(lambda: services.change_status(order=Order.objects.get(), to='shipped'))
    await asyncio.sleep(0)

asyncio.run(serve())
"""
    await asyncio.wait_for(database(program, code, os.environ["REDIS_URL"]), PATIENCE)
    assert await ear.hears_heads(2) == [1, 2]
