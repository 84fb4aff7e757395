"""What the core tells of orders; `notify` listens.

`history.tell` sends `orders_changed` and `conversation` sends `message_written`, inside the transaction of the change:
a receiver that raises undoes the change. The news are a list, so that many changes are announced at once, whatever they
are. Nothing is sent for an update that changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from django.dispatch import Signal


class What(Enum):
    """What has become of an order."""

    CREATED = auto()
    STATUS_CHANGED = auto()
    #: Something other than the status changed.
    UPDATED = auto()
    #: It is no longer the customer's: deleted, or given to another, who is told of a new order.
    REMOVED = auto()
    #: Nothing changed: its promised day is over, and it has not arrived.
    DELAYED = auto()


@dataclass(frozen=True, slots=True)
class News:
    """One change, with its `order` (an `Order`) as that change left it. Without `notify` the customer is not told.

    A removed order is as it was, with the version after its last.
    """

    what: What
    order: Any
    at: datetime
    note: str = ""
    notify: bool = True
    changed: Sequence[str] = ()


#: `news: list[News]`, in the order in which it happened.
orders_changed = Signal()
#: `users: list`: customers who were made past `save()`, for whom Django sends no signal.
customers_created = Signal()
#: `message: Message`: somebody has written about an order.
message_written = Signal()
