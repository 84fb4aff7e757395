"""Threads that keep their connections, and renew them in time."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import connection

from notifications import database as database_module
from notifications.database import SHARED_THREADS, DatabaseThreads, SharedThreads
from tests.polling import PATIENCE, apoll


@pytest.mark.usefixtures("transactional_db")
async def test_a_connection_that_is_used_without_a_pause_is_renewed_all_the_same(monkeypatch: pytest.MonkeyPatch):
    """A loop that asks every second keeps no connection beyond CONN_MAX_AGE."""
    monkeypatch.setattr(database_module, "TRUSTED_SECONDS", 0.05)
    threads = DatabaseThreads("test")

    def in_use() -> object:
        connection.settings_dict["CONN_MAX_AGE"] = 0.01
        connection.ensure_connection()
        return connection.connection

    before = await threads.run(in_use)

    async def is_another() -> bool:
        return await threads.run(in_use) is not before

    await apoll(is_another, saying="another connection", every=0.01)
    await threads.close()


async def test_a_kind_of_work_that_waits_for_a_lock_delays_no_other_kind():
    stuck, hub, handshake = SharedThreads("stuck"), SharedThreads("hub"), SharedThreads("handshake")
    lock = threading.Event()
    waiting = [asyncio.ensure_future(stuck.run(lock.wait)) for _ in range(SHARED_THREADS + 1)]
    try:
        async with asyncio.timeout(PATIENCE):
            assert [*await asyncio.gather(hub.run(int, "1"), handshake.run(int, "2"), hub.run(int, "3"))] == [1, 2, 3]
    finally:
        lock.set()
    assert await asyncio.gather(*waiting) == [True] * len(waiting)
    await stuck.close()


async def test_a_storm_of_one_kind_leaves_every_other_kind_its_turn():
    stuck, storm, hub = SharedThreads("stuck"), SharedThreads("storm"), SharedThreads("hub")
    lock, all_asked_for = threading.Event(), threading.Event()
    done: list[str] = []

    def note(kind: str) -> None:
        done.append(kind)
        if kind == "hub":
            lock.set()

    async def begin() -> None:
        all_asked_for.set()

    # The one thread is taken away, so that the other one has them all; each is asked for in this order.
    storming = [storm.run(note, "storm") for _ in range(200)]
    await asyncio.gather(stuck.run(lock.wait), storm.run(all_asked_for.wait), *storming, hub.run(note, "hub"), begin())
    assert done.index("hub") <= 1
    await hub.close()


async def test_all_kinds_together_use_so_many_threads_and_go_on_after_they_were_closed():
    kinds = [SharedThreads(f"kind {number}") for number in range(5)]
    used: set[int] = set()
    for kind in kinds:
        await asyncio.gather(*(other.run(lambda: used.add(threading.get_ident())) for other in kinds))
        await kind.close()
        assert len(used) <= SHARED_THREADS
        used.clear()


async def test_what_a_call_raises_is_its_callers_and_ends_no_kind():
    kind = SharedThreads("kind")
    with pytest.raises(ZeroDivisionError):
        await kind.run(divmod, 1, 0)
    assert await kind.run(divmod, 1, 1) == (1, 0)
    await kind.close()
