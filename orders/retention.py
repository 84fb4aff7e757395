"""Orders that are closed for longer than a shop keeps them: deleted with all that hangs on them. Called by a task.

Off unless `ORDER_RETENTION_DAYS` says how long. Nobody is told: what vanishes is older than anybody's page. What was
told of an order stays in its customer's stream until that is trimmed.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from orders.lifecycle import CLOSED
from orders.models import Order

#: Orders of one transaction, each with some ten rows that hang on it: their locks last for some tenths of a second.
BATCH = 500
#: Seconds after which a run leaves the rest to the next: below Celery's time limit, with time for the last batch.
RUN_SECONDS = 200.0


def delete_old_orders(*, seconds: float = RUN_SECONDS) -> int:
    """Delete what is closed for more than `ORDER_RETENTION_DAYS`, with its history and messages; gives the number of
    orders. Two runs at once share the work out.
    """
    if settings.ORDER_RETENTION_DAYS is None:
        return 0
    ends, deleted = time.monotonic() + seconds, 0
    ahead = old = orders_closed_before(timezone.now() - timedelta(days=settings.ORDER_RETENTION_DAYS))
    while time.monotonic() < ends:
        with transaction.atomic():
            found = list(ahead.select_for_update(skip_locked=True).values_list("pk", "placed_at")[:BATCH])
            Order.objects.filter(pk__in=[pk for pk, _ in found]).delete()
        deleted += len(found)
        if len(found) < BATCH:
            break
        # Not from the beginning again: what was just deleted is in the index until PostgreSQL's vacuum.
        ahead = old.filter(placed_at__gte=found[-1][1])
    return deleted


def orders_closed_before(moment: datetime) -> QuerySet[Order]:
    """Orders that got their last status before a moment, oldest first. They were placed before it, too, which has an
    index; an index of all closed orders would be one of all orders.
    """
    return Order.objects.filter(status__in=CLOSED, status_since__lt=moment, placed_at__lt=moment).order_by("placed_at")
