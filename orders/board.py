"""The staff's board: the topic of all orders, for users with the permission `orders.view_order`.

What an order's watchers are told is its whole latest state, as the API gives it, or that it is gone, and that somebody
has written about it: which side and when, but not what, since not all of them may read conversations. `config` makes it
a socket at `/ws/board`; how watchers are told is the engine's (`notifications.delivery.topic`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model

from notifications import protocol
from notifications.delivery.topic import State, Topic
from orders.conversation import conversations_about, conversations_since
from orders.selectors import orders_changed_since, orders_numbered, rfc3339, snapshot

#: The topic's name: `notify` publishes to it.
BOARD = "board"
#: What the topic's keys begin with. The rest is an order's number.
ORDER, CONVERSATION = "order:", "conversation:"


def _who_may_watch(user_ids: Collection[Any]) -> set[Any]:
    users = get_user_model()._default_manager.filter(pk__in=user_ids, is_active=True)
    return {user.pk for user in users if user.has_perm("orders.view_order")}


def _versions_since(moment: datetime) -> dict[str, int]:
    orders = orders_changed_since(moment).values_list("number", "version")
    talks = conversations_since(moment).values_list("order__number", "last_message")
    return {f"{ORDER}{number}": version for number, version in orders} | {
        f"{CONVERSATION}{number}": newest for number, newest in talks
    }


def _states(keys: Collection[str]) -> dict[str, State]:
    orders = orders_numbered(_numbers(keys, ORDER))
    talks = conversations_about(_numbers(keys, CONVERSATION))
    return {
        f"{ORDER}{order.number}": State(order.version, protocol.frame("order", order=snapshot(order)))
        for order in orders
    } | {
        f"{CONVERSATION}{talk.order.number}": State(
            talk.last_message,
            message_frame(number=talk.order.number, key=talk.last_message, side=talk.last_side, at=talk.last_at),
        )
        for talk in talks
    }


def _numbers(keys: Collection[str], prefix: str) -> list[str]:
    return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]


def message_frame(**fields: Any) -> str:
    """The frame that tells of a message; see `message_fields`."""
    return protocol.frame("message", **message_fields(**fields))


def message_fields(*, number: str, key: int, side: str, at: datetime, client_id: str = "") -> dict[str, Any]:
    """What is told of a message, beside its text, which whoever may reads over HTTP. An order whose newest message is
    the customer's waits for an answer. `client_id` is its author's own, and told to nobody else.
    """
    return {"order": number, "id": key, "side": str(side), "at": rfc3339(at), "client_id": client_id or None}


def _gone(key: str) -> str | None:
    return protocol.frame("removed", number=key.removeprefix(ORDER)) if key.startswith(ORDER) else None


board = Topic(name=BOARD, admits=_who_may_watch, changed_since=_versions_since, states=_states, gone=_gone)
