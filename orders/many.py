"""Many orders written in one statement: as `Order.save` would write each, but for the history, which the caller writes.

Called by `bulk`, which holds the locks of the rows. Nothing is announced here, and Django's signals are not sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet

from orders.inserting import insert_rows
from orders.models import Order
from orders.positions import number
from orders.saving import STAMP

#: What an update writes.
COLUMNS = [name for name in (*Order.VERSIONED, *STAMP, "news_at", "tx") if name not in ("number", "customer_id")]


def insert_orders(orders: Sequence[Order]) -> None:
    """Write orders that no row has yet. Raises IntegrityError for a number that is taken."""
    if not orders:
        return
    tx = number()
    for order in orders:
        order._normalise()
        order.tx = tx
        order._known = (order._no_row(),)
    insert_rows(orders)
    _written(orders, int(tx))


def update_orders(orders: Sequence[Order]) -> None:
    """Write orders that were loaded, locked and advanced (`advance_from`) in the transaction that is open.

    An INSERT whose every row meets the one that is there: the way to many UPDATEs with different values that both
    databases know, and whose cost grows with the rows and not with their square. It is Django's own `bulk_create`, past
    the refusal of ours.
    """
    if not orders:
        return
    tx = number()
    for order in orders:
        order.tx = tx
    rows: QuerySet[Order] = QuerySet(Order)
    rows.bulk_create(orders, update_conflicts=True, unique_fields=["id"], update_fields=COLUMNS)
    _written(orders, int(tx))


def _written(orders: Sequence[Order], tx: int) -> None:
    for order in orders:
        order.tx = tx
        order._known = (*order._known, order._row())
