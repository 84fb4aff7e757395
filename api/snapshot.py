"""`/snapshot`: a customer's orders and their position in the stream, from one read.

A page begins with it and follows from its `head`: a change is either in the orders or comes after the position, never
lost and never in both. A shop's back end asks for its customer, and hands it to its page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.fields import StoredName
from api.filters import refuse_blanks
from api.paging import MAX_WITHOUT, Cursor, fitting
from api.serializers import OrderSerializer, StrictSerializer
from api.tickets import is_customer, known_customer
from notifications.access.delegation import ACT_FOR_OTHERS
from notifications.log import stream
from notifications.log.consistent import consistent_read
from notifications.log.stream import Position
from orders.models import Order
from orders.selectors import open_orders, orders_of, snapshot

#: How many of the newest orders, open or closed: what a page shows, some 100 KB commonly.
NEWEST = 100
#: How many open ones that are older than those: as many as the cursor of the rest can leave out.
OLDER_OPEN = MAX_WITHOUT
#: What a shop's back end needs to ask for its customer: to act for them, and to read their orders.
FOR_A_CUSTOMER = (ACT_FOR_OTHERS, "orders.view_order")


class SnapshotQuery(StrictSerializer):
    """The query of `/snapshot`."""

    unknown = serializers.ErrorDetail("This parameter is not known.", code="unknown_parameter")

    # As for a ticket.
    customer = StoredName(
        required=False,
        help_text="A user name in its stored spelling; the caller's own if absent.",
    )


class SnapshotSerializer(serializers.Serializer):
    """Orders, and where in the stream they were read."""

    user = serializers.CharField(help_text="Whose orders and stream these are.")
    stream = serializers.CharField(help_text="The stream's id; empty for a customer who is not known yet.")
    head = serializers.IntegerField(help_text="Follow from here: the orders have everything up to this number.")
    unread = serializers.IntegerField()
    orders = OrderSerializer(many=True, help_text="The 100 newest, and up to 100 open ones that are older.")
    next = serializers.URLField(allow_null=True, help_text="The rest of the orders, in pages of `/orders`.")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one read found."""

    position: Position
    orders: Sequence[Order]
    #: Where the rest begins, if there is one.
    rest: Cursor | None


#: Of a customer who is not known yet. Whoever follows from here is reset once the stream has begun, and misses nothing.
NOTHING = Snapshot(Position(uid="", head=0, read_up_to=0, trimmed_up_to=0), (), None)


def take(user: Any) -> Snapshot:
    """The user's orders and position as they are now; `NOTHING` of a user who is gone."""
    found = _read(user)
    if found is None:
        # Streams begin with their users; one that is missing all the same is begun, which that read must not do.
        stream.positions([user.pk])
        found = _read(user)
    return found or NOTHING


def _read(user: Any) -> Snapshot | None:
    orders = orders_of(user)
    with consistent_read():
        position = stream.find(user.pk)
        found = list(orders[: NEWEST + 1])
        newest = fitting(found[:NEWEST])
        older_open: list[Order] = []
        last = newest[-1] if len(found) > len(newest) else None
        if last is not None:
            older_open = fitting(list(open_orders(Cursor.after(last).within(orders))[:OLDER_OPEN]))
    if position is None:
        return None
    rest = None if last is None else Cursor.after(last, without=[order.pk for order in older_open])
    return Snapshot(position, [*newest, *older_open], rest)


class SnapshotView(APIView):
    """`/snapshot`: what a page that follows a stream begins with."""

    @extend_schema(
        operation_id="get_snapshot",
        summary="A customer's orders, and their position in the stream",
        description="From one read: what changes meanwhile is either in the orders or comes after `head`.",
        parameters=[SnapshotQuery],
        responses=SnapshotSerializer,
    )
    def get(self, request: Request) -> Response:
        # A back end whose customer's name is empty by mistake must not get its own orders in their place.
        refuse_blanks(request.query_params)
        query = SnapshotQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        name = query.validated_data.get("customer")
        user = _whose(request.user, name)
        found = take(user) if user is not None else NOTHING
        name = user.get_username() if user is not None else name
        answer = {
            "user": name,
            "stream": found.position.uid,
            "head": found.position.head,
            "unread": found.position.unread,
            "orders": [snapshot(order) for order in found.orders],
            "next": found.rest and _link(request, name, found.rest),
        }
        return Response(answer, headers={"Cache-Control": "no-store"})


def _whose(caller: Any, name: str | None) -> Any:
    """The user that the caller asks for, None for a customer who is not known yet.

    The rules are those of a ticket. Raises `PermissionDenied`, and `ValidationError` for a user who is no customer.
    """
    if name is None or (name == caller.get_username() and is_customer(caller)):
        return caller
    if not caller.has_perms(FOR_A_CUSTOMER):
        raise PermissionDenied(f"Snapshots of others need the permissions {' and '.join(FOR_A_CUSTOMER)}.")
    return known_customer(name, maker=caller)


def _link(request: Request, name: str, cursor: Cursor) -> str:
    # The name also for a customer's own: staff who may see all orders would otherwise get those of others.
    query = urlencode({"customer": name, "cursor": cursor.written()})
    return request.build_absolute_uri(f"{reverse('order-list')}?{query}")
