"""What customers read: the plain words for each status, and which step they may expect next.

The templates render the first paint from here, and hand the same table to the pages' JavaScript as data, so that a
status reads the same whether it was rendered or arrived. Knows nothing of rows, requests or frames. A shop that wants
other words changes this file; a new status needs a row here, and a test says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from orders.lifecycle import Status

#: Steps of the progress bar: received, prepared, on its way, nearly there, done.
STEPS = 5


@dataclass(frozen=True, slots=True)
class Words:
    """How one status is told to a customer.

    `label` heads the order, `sentence` says what it means, `tone` colours it (`calm, active, waiting, done, ended`),
    `step` fills the progress bar (0: there is no way ahead to show), `following` is the usual next status.
    """

    label: str
    sentence: str
    tone: str
    step: int
    following: Status | None


WORDS: dict[Status, Words] = {
    Status.PENDING: Words(
        "Order received", "Thank you. We will start to prepare it soon.", "calm", 1, Status.PROCESSING
    ),
    Status.PROCESSING: Words("Being prepared", "We are packing your order.", "active", 2, Status.SHIPPED),
    Status.ON_HOLD: Words(
        "On hold", "Something has to be settled before we can go on.", "waiting", 2, Status.PROCESSING
    ),
    Status.SHIPPED: Words("On its way", "The carrier has your parcel.", "active", 3, Status.OUT_FOR_DELIVERY),
    Status.OUT_FOR_DELIVERY: Words(
        "Out for delivery", "Your parcel is in the delivery van.", "active", 4, Status.DELIVERED
    ),
    Status.READY_FOR_PICKUP: Words(
        "Ready for pickup", "Your order is waiting for you to collect it.", "waiting", 4, Status.DELIVERED
    ),
    Status.DELIVERED: Words("Delivered", "Your order has arrived. Enjoy it.", "done", 5, None),
    Status.CANCELLED: Words("Cancelled", "This order will not be sent.", "ended", 0, None),
    Status.RETURNED: Words("Returned", "Your parcel is on its way back to us.", "ended", 0, None),
}


def ahead(status: str) -> list[Words]:
    """The steps that usually follow a status, nearest first; none after the last."""
    steps = []
    following = WORDS[Status(status)].following
    while following is not None:
        steps.append(WORDS[following])
        following = WORDS[following].following
    return steps


#: Of those kinds that always say the same.
HEADLINES = {
    "order.created": "Order placed",
    "order.removed": "Order removed",
    "order.message": "New message",
    "order.delayed": "Later than planned",
}


def headline(told: dict[str, Any]) -> str:
    """What a notification says, in a few words. `told` is its frame: `kind`, `order`, and perhaps `changed`."""
    kind, order = told["kind"], told["order"]
    if kind == "order.status_changed":
        return WORDS[Status(order["status"])].label
    if kind == "order.updated" and "estimated_delivery" in told.get("changed", ()) and order["estimated_delivery"]:
        return f"New delivery date: {date.fromisoformat(order['estimated_delivery']):%-d %B}"
    return HEADLINES.get(kind, "Details changed")


def table() -> dict[str, dict[str, Any]]:
    """All words by status, ready for JSON."""
    return {status.value: asdict(words) for status, words in WORDS.items()}
