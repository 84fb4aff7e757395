"""Orders that are late: found, marked and announced once for each day that was promised. Called by a task.

An order is late when the day of its `estimated_delivery` is over and the customer still waits. Which day it is, is told
by the shop's time zone (Django's `TIME_ZONE`): nobody knows the zone of a customer who is not looking. A later day that
is promised and missed again is announced again.

It refuses to announce what is no news: days that were over for longer than `NEWS` when they were first looked at, as
those of old orders that a shop brings in.
"""

from __future__ import annotations

import time
from datetime import date, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from orders.history import tell
from orders.lifecycle import AWAITED
from orders.models import Order
from orders.signals import News, What

#: How long a missed day is news: longer than beat is ever away, and shorter than a customer needs to notice.
NEWS = timedelta(days=7)
#: Orders of one transaction: its locks last for some tenths of a second.
BATCH = 500
#: Seconds after which a run leaves the rest to the next: below Celery's time limit, with time for the last batch.
RUN_SECONDS = 200.0


def announce_delays(*, seconds: float = RUN_SECONDS) -> int:
    """Announce the orders that are late and of which nobody has been told; gives their number."""
    ends, announced = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        some = _announce_some(timezone.localdate())
        announced += some
        if some < BATCH:
            break
    return announced


def orders_late(today: date) -> QuerySet[Order]:
    """Orders whose promised day is over, and was not announced as missed."""
    return Order.objects.filter(
        Q(delay_told_for__isnull=True) | Q(delay_told_for__lt=F("estimated_delivery")),
        status__in=AWAITED,
        estimated_delivery__lt=today,
        estimated_delivery__gte=today - NEWS,
    )


@transaction.atomic
def _announce_some(today: date) -> int:
    """One batch. Two runs at once announce different orders: each passes over what the other one has locked."""
    rows = orders_late(today).select_related("customer").order_by("estimated_delivery", "pk")
    # The row that is locked is read again: somebody may have delivered it just now.
    orders = list(rows.select_for_update(of=("self",), no_key=True, skip_locked=True)[:BATCH])
    # No new version: of what the world sees of the order nothing has changed.
    Order.objects.filter(pk__in=[order.pk for order in orders]).update(delay_told_for=F("estimated_delivery"))
    now = timezone.now()
    tell([News(What.DELAYED, order, at=now) for order in orders])
    return len(orders)
