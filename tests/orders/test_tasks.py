"""Celery's door to the services; a real worker walks through it in the acceptance tests."""

from datetime import timedelta

import pytest

from config.celery import app
from orders import services, tasks
from orders.models import Order
from tests.orders.conftest import newest_change


def test_a_task_calls_the_service_it_is_named_after(order: Order):
    at = order.placed_at + timedelta(minutes=5)
    assert tasks.change_status("SO-1", "shipped", occurred_at=at.isoformat(), note="On its way", notify=False)
    change = newest_change(order)
    assert (change.to_status, change.occurred_at, change.note, change.notify) == ("shipped", at, "On its way", False)


def test_a_task_that_runs_twice_changes_an_order_once(order: Order):
    assert [tasks.change_status("SO-1", "shipped") for _ in range(2)] == [True, False]
    assert Order.objects.get().version == 2


def test_an_illegal_step_fails_the_task(order: Order):
    with pytest.raises(services.IllegalTransition):
        tasks.change_status("SO-1", "returned")


def test_an_order_that_does_not_exist_fails_the_task(db: None):
    with pytest.raises(Order.DoesNotExist):
        tasks.change_status("SO-404", "shipped")


def test_a_worker_that_dies_has_its_task_given_to_another():
    task = app.tasks["orders.change_status"]
    assert task.acks_late
    assert task.reject_on_worker_lost
