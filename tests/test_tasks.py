"""What every task keeps to, whoever adds one: its name, its time, and that it may run twice."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from config import task_log
from config.celery import app
from notifications.models import Notification
from notifications.problems import request_id
from orders.models import Order
from orders.selectors import snapshot
from tests.orders.conftest import make_order

app.loader.import_default_modules()
TASKS = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}

#: What each task is called with; every task stands here.
CALLED_WITH: dict[str, dict[str, Any]] = {
    "orders.change_status": {"number": "SO-1", "to": "shipped"},
    "orders.announce_delays": {},
    "orders.delete_old_orders": {},
    "notifications.trim": {},
    "notifications.clean_up": {},
    "notifications.deliver": {},
    "api.delete_expired_idempotency_keys": {},
}


@pytest.fixture
def world(alice: User, settings: Any) -> None:
    """Something to do for each of them."""
    settings.ORDER_RETENTION_DAYS = 365
    long_ago = timezone.now() - timedelta(days=400)
    make_order("SO-1", estimated_delivery=timezone.localdate() - timedelta(days=1))
    Notification.objects.update(at=long_ago)
    make_order("SO-2", status="delivered", placed_at=long_ago)


def state() -> list[Any]:
    """The orders as the world sees them, and what was told of them."""
    return [*map(snapshot, Order.objects.order_by("pk")), *Notification.objects.order_by("pk").values_list("frame")]


def test_every_task_is_known_here():
    assert TASKS.keys() == CALLED_WITH.keys()


@pytest.mark.parametrize("name", CALLED_WITH)
def test_a_task_is_named_after_its_room_and_the_service_that_it_calls(name: str):
    task = TASKS[name]
    room, _, service = name.partition(".")
    assert (task.run.__module__, task.run.__name__) == (f"{room}.tasks", service)
    # Celery wraps what is tried again.
    assert service in inspect.unwrap(task.run).__code__.co_names
    assert task.__doc__


@pytest.mark.parametrize("name", CALLED_WITH)
def test_a_task_has_a_time_limit_and_is_not_given_to_another_before(name: str):
    task = TASKS[name]
    hard = task.time_limit or app.conf.task_time_limit
    soft = task.soft_time_limit or app.conf.task_soft_time_limit
    assert 0 < soft < hard < settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"]


@pytest.mark.parametrize("name", CALLED_WITH)
def test_a_task_is_done_again_by_another_worker_if_its_own_dies(name: str):
    assert TASKS[name].acks_late
    assert TASKS[name].reject_on_worker_lost


@pytest.mark.parametrize("name", CALLED_WITH)
def test_a_task_that_runs_twice_does_what_it_does_once(world: None, name: str):
    before = state()
    TASKS[name].run(**CALLED_WITH[name])
    once = state()
    assert TASKS[name].run(**CALLED_WITH[name]) in (0, False)
    assert state() == once
    if name not in ("notifications.clean_up", "notifications.deliver", "api.delete_expired_idempotency_keys"):
        assert once != before, "there was something to do"


# Whose lines they are.


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str | None]]:
    """The request ids with which a task that says something says it."""
    said: list[str | None] = []

    @app.task(name="celery.tests.speak", bind=True)
    def speak(task: Any) -> None:
        said.append(request_id.get())
        logging.getLogger("orders").info("spoken")

    yield said
    del app.tasks["celery.tests.speak"]


def run(**headers: Any) -> None:
    """As a worker does, with what came in the message."""
    from celery.app.trace import build_tracer

    task = app.tasks["celery.tests.speak"]
    tracer = build_tracer(task.name, task, app=app)
    tracer("task-id", [], {}, {"id": "task-id", "is_eager": False, "delivery_info": {}, "args": (), **headers})


def test_what_a_request_asks_for_is_said_with_its_id():
    token = request_id.set("trace-1")
    headers: dict[str, Any] = {}
    task_log.say_what_caused_it(headers=headers)
    request_id.reset(token)
    assert headers == {"request_id": "trace-1"}
    headers.clear()
    task_log.say_what_caused_it(headers=headers)
    assert headers == {}


@pytest.mark.parametrize(
    ("headers", "id_"), [({"request_id": "trace-1"}, "trace-1"), ({}, "task-id"), ({"request_id": 7}, "task-id")]
)
def test_a_task_speaks_with_the_id_of_what_caused_it_and_the_next_one_does_not(
    lines: list[str | None], headers: dict[str, Any], id_: str
):
    run(**headers)
    run()
    assert lines == [id_, "task-id"]
    assert not request_id.get()


def test_an_id_from_the_broker_forges_no_line(lines: list[str | None]):
    run(request_id="trace\n2026 INFO forged")
    [id_] = lines
    assert id_ is not None
    assert id_.isalnum()
