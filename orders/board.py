"""The staff's board: the topic of all orders, for users with the permission `orders.view_order`.

What an order's watchers are told is its whole latest state, as the API gives it. `config` makes it a socket at
`/ws/board`; how watchers are told is the engine's (`notifications.delivery.topic`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model

from notifications import protocol
from notifications.delivery.topic import State, Topic
from orders.selectors import orders_changed_since, orders_numbered, snapshot

#: The topic's name: `notify` publishes to it.
BOARD = "board"


def _who_may_watch(user_ids: Collection[Any]) -> set[Any]:
    users = get_user_model()._default_manager.filter(pk__in=user_ids, is_active=True)
    return {user.pk for user in users if user.has_perm("orders.view_order")}


def _versions_since(moment: datetime) -> dict[str, int]:
    return dict(orders_changed_since(moment).values_list("number", "version"))


def _states(numbers: Collection[str]) -> dict[str, State]:
    return {
        order.number: State(order.version, protocol.frame("order", order=snapshot(order)))
        for order in orders_numbered(numbers)
    }


board = Topic(name=BOARD, admits=_who_may_watch, changed_since=_versions_since, states=_states)
