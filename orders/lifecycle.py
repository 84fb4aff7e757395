"""The lifecycle of an order: a pure table of legal steps.

Called by `services` before a status is written, and by pages that show the next steps. It reads nothing and writes
nothing. To add a status: add it to `Status`, give it a row in `STEPS`, and make a migration (the database checks the
column against `Status` too).
"""

from django.db import models


class Status(models.TextChoices):
    """The field's common words: schema.org OrderStatus, WooCommerce, Shopify; parcels as carriers name them."""

    PENDING = "pending"
    PROCESSING = "processing"
    ON_HOLD = "on_hold"
    SHIPPED = "shipped"
    OUT_FOR_DELIVERY = "out_for_delivery"
    READY_FOR_PICKUP = "ready_for_pickup"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    RETURNED = "returned"


#: From each status, the statuses that may follow. Forward steps may be skipped, because carriers skip scans.
STEPS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset(
        {
            Status.PROCESSING,
            Status.ON_HOLD,
            Status.SHIPPED,
            Status.OUT_FOR_DELIVERY,
            Status.DELIVERED,
            Status.CANCELLED,
        }
    ),
    Status.PROCESSING: frozenset(
        {
            Status.ON_HOLD,
            Status.SHIPPED,
            Status.OUT_FOR_DELIVERY,
            Status.READY_FOR_PICKUP,
            Status.DELIVERED,
            Status.CANCELLED,
        }
    ),
    Status.ON_HOLD: frozenset({Status.PENDING, Status.PROCESSING, Status.CANCELLED}),
    Status.SHIPPED: frozenset({Status.OUT_FOR_DELIVERY, Status.READY_FOR_PICKUP, Status.DELIVERED, Status.RETURNED}),
    # Back to shipped is a failed delivery attempt: the parcel returns to the depot.
    Status.OUT_FOR_DELIVERY: frozenset({Status.SHIPPED, Status.READY_FOR_PICKUP, Status.DELIVERED, Status.RETURNED}),
    # A parcel that nobody collects is cancelled (it never left the shop) or returned (a carrier holds it).
    Status.READY_FOR_PICKUP: frozenset({Status.DELIVERED, Status.CANCELLED, Status.RETURNED}),
    Status.DELIVERED: frozenset({Status.RETURNED}),
    Status.CANCELLED: frozenset(),
    Status.RETURNED: frozenset(),
}

#: Statuses that nothing follows.
FINAL = frozenset(status for status, following in STEPS.items() if not following)

#: Statuses after which the customer waits for nothing more. A delivered order may still be returned.
CLOSED = FINAL | {Status.DELIVERED}


def allowed(status: str) -> list[str]:
    """The statuses that may follow `status`, in the order of `Status`, as plain strings."""
    following = STEPS[Status(status)]
    return [candidate.value for candidate in Status if candidate in following]


def is_legal(status: str, to: str) -> bool:
    """Whether an order may go from `status` to `to`."""
    return Status(to) in STEPS[Status(status)]
