"""Celery's door to the services, for a shop's own code: `change_status.delay("SO-1001", "shipped")`.

Each task is named after the service that it calls, carries ids and plain values only (a message may outlive a deploy),
and is the same in effect when it runs twice: brokers deliver at least once.
"""

from __future__ import annotations

from datetime import datetime

from celery import shared_task
from django.db import OperationalError

from orders import delays, retention, services
from orders.models import Order


@shared_task(
    name="orders.change_status",
    # A database that restarts is back within seconds; a worker that dies has its task given to another.
    autoretry_for=(OperationalError,),
    retry_backoff=True,
    max_retries=8,
    acks_late=True,
    reject_on_worker_lost=True,
)
def change_status(number: str, to: str, *, occurred_at: str | None = None, note: str = "", notify: bool = True) -> bool:
    """Move the order `number` to the status `to`; `occurred_at` is RFC 3339. Returns whether it moved.

    Raises what the service raises: an illegal step fails the task, and no retry would make it legal.
    """
    outcome = services.change_status(
        order=Order.objects.get(number=number),
        to=to,
        occurred_at=datetime.fromisoformat(occurred_at) if occurred_at else None,
        note=note,
        notify=notify,
    )
    return outcome.applied


@shared_task(name="orders.announce_delays")
def announce_delays() -> int:
    """Tell customers of orders whose promised day is over and that have not arrived; gives their number."""
    return delays.announce_delays()


@shared_task(name="orders.delete_old_orders")
def delete_old_orders() -> int:
    """Delete the orders that are closed for longer than `ORDER_RETENTION_DAYS`; gives their number."""
    return retention.delete_old_orders()
