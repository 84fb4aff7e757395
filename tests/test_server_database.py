"""A connection that PostgreSQL has ended fails no request, and one that works is not asked before each."""

from collections.abc import Iterator

import pytest
from django.core.signals import request_finished, request_started
from django.db import connection

from config.server import database
from tests.database import Elsewhere, elsewhere, on_postgres
from tests.polling import poll

pytestmark = [pytest.mark.django_db(transaction=True), on_postgres]


@pytest.fixture
def other() -> Iterator[Elsewhere]:
    """A thread that answers requests, with a connection of its own."""
    # Django's test client takes Django's own receiver away and connects it again, behind ours.
    request_started.disconnect(dispatch_uid="spare the question")
    database.tend_connections()
    with elsewhere() as thread:
        yield thread


def request() -> int:
    """What a request does to a connection; the process of PostgreSQL's that has answered."""
    request_started.send(sender=request, environ={})
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    request_finished.send(sender=request)
    return int(pid)


def is_to_be_asked() -> bool:
    """Whether the first query of a request that begins now is preceded by a question."""
    request_started.send(sender=request, environ={})
    return not connection.health_check_done  # type: ignore[attr-defined]  # the stubs lack it


def end(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    poll(lambda: pid not in backends(), saying="the end of a connection")


def backends() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity")
        return [pid for (pid,) in cursor.fetchall()]


def test_a_connection_that_the_server_has_ended_is_opened_anew_and_no_request_fails(other: Elsewhere):
    pid = other.do(request)
    assert other.do(request) == pid
    end(pid)
    assert other.do(request) != pid


def test_a_connection_that_has_just_answered_is_not_asked_and_one_that_was_silent_for_a_second_is(other: Elsewhere):
    other.do(request)
    poll(lambda: other.do(is_to_be_asked))  # its second is over
    poll(lambda: other.do(request) and not other.do(is_to_be_asked))
    poll(lambda: other.do(is_to_be_asked))
