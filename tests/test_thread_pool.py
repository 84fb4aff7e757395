"""Every call is made, by so many threads at most, and by the one that was busy last if there is a choice."""

import gc
import threading
from collections.abc import Callable

from config.server.thread_pool import ThreadPool
from tests.polling import poll


class Calls:
    """Calls that are held until they may end, and what was seen of them."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.may_end = threading.Event()

    def held(self) -> None:
        self.threads.append(threading.current_thread())
        self.may_end.wait()

    def short(self) -> None:
        self.threads.append(threading.current_thread())


def idle(pool: ThreadPool, count: int) -> Callable[[], bool]:
    return lambda: len(pool._work.idle) == count


def test_so_many_calls_run_at_once_and_the_others_wait_for_their_turn():
    pool, calls = ThreadPool(2, name="test"), Calls()
    for _ in range(20):
        pool.submit(calls.held)
    poll(lambda: len(calls.threads) == 2)
    calls.may_end.set()
    poll(lambda: len(calls.threads) == 20)
    assert len(set(calls.threads)) == 2


def test_a_thread_is_started_when_it_is_needed_and_the_one_that_was_busy_last_is_next():
    pool, calls = ThreadPool(2, name="test"), Calls()
    for count in range(1, 4):
        pool.submit(calls.short)
        poll(idle(pool, 1))
        assert len(calls.threads) == count
    assert len(set(calls.threads)) == 1
    pool.submit(calls.held)
    pool.submit(calls.short)
    poll(idle(pool, 1))
    calls.may_end.set()
    poll(idle(pool, 2))
    last = calls.threads[3]  # the one that was held
    pool.submit(calls.short)
    poll(lambda: len(calls.threads) == 6)
    assert calls.threads[-1] is last


def test_what_has_not_begun_can_be_taken_back():
    pool, calls, others = ThreadPool(1, name="test"), Calls(), Calls()
    pool.submit(calls.held)
    pool.submit(others.short)
    poll(lambda: calls.threads)
    assert pool.withdraw(others.short)
    assert not pool.withdraw(others.short)
    assert not pool.withdraw(calls.held)
    calls.may_end.set()
    poll(idle(pool, 1))
    assert not others.threads


def test_threads_end_when_nobody_has_the_pool_any_more():
    pool, calls = ThreadPool(2, name="test"), Calls()
    pool.submit(calls.short)
    poll(idle(pool, 1))
    pool.submit(calls.held)
    pool.submit(calls.short)
    poll(idle(pool, 1))
    del pool
    gc.collect()
    calls.may_end.set()
    poll(lambda: not any(thread.is_alive() for thread in calls.threads))
