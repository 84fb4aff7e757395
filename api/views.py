"""The orders over HTTP: what is asked and who may. `orders.services` changes them, `orders.selectors` finds them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from api import batch, etags, idempotency, messages, problems
from api.changes import ChangePages
from api.filters import OrderQuery, narrowed
from api.key_pages import HistoryPages, MessagePages
from api.paging import OrderPages
from api.parsers import BatchParser, needed
from api.permissions import OrderPermission
from api.schema import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, LOCATION, NUMBER, ONLY_NEW, etag
from api.serializers import (
    ChangedOrderSerializer,
    NewOrderSerializer,
    OrderSerializer,
    OrderUpdateSerializer,
    PutOrderSerializer,
    PutResultSerializer,
    StatusChangeSerializer,
)
from orders import numbers, services
from orders.bulk import Line, change_statuses
from orders.models import Order
from orders.selectors import history_of, order_visible_to, orders_visible_to
from orders.services import OrderError
from orders.upsert import CustomerDiffers, Result, Whole, put_orders


@extend_schema_view(
    list=extend_schema(
        operation_id="list_orders",
        summary="Orders, newest first",
        description="Customers get their own orders, staff with the permission to view orders get all.",
        parameters=[OrderQuery],
    )
)
class OrderViewSet(mixins.ListModelMixin, GenericViewSet):
    """`/orders`: customers read their own, staff with the model's permissions read, create and change all."""

    permission_classes = [OrderPermission]
    serializer_class = OrderSerializer
    pagination_class = OrderPages
    lookup_field = "number"
    lookup_value_regex = numbers.IN_ROUTE

    def get_queryset(self) -> QuerySet[Order]:
        return orders_visible_to(self.request.user)

    def filter_queryset(self, queryset: QuerySet[Any, Any]) -> QuerySet[Any, Any]:
        """For the list, which REST framework asks for."""
        return narrowed(queryset, self.request.query_params)

    def list(self, request: Request) -> Response:
        if request.query_params.get("order_by") == "updated":
            self.pagination_class = ChangePages
        return super().list(request)

    def get_object(self) -> Order:
        order = order_visible_to(self.request.user, self.kwargs["number"])
        self.check_object_permissions(self.request, order)
        return order

    @extend_schema(
        operation_id="create_order",
        summary="Create an order",
        description="A customer who is not known is created, without a password.",
        request=NewOrderSerializer,
        responses={201: OrderSerializer},
        parameters=[IDEMPOTENCY_KEY, LOCATION, etag(201)],
    )
    def create(self, request: Request) -> Response | HttpResponse:
        new = NewOrderSerializer(data=request.data)
        new.is_valid(raise_exception=True)

        def answer() -> Response:
            try:
                order = services.create_order(actor=request.user, **new.validated_data)
            except services.NumberTaken as taken:
                taken.order = self.get_queryset().filter(number=new.validated_data["number"]).first()
                raise
            return Response(OrderSerializer(order).data, status=status.HTTP_201_CREATED, headers=_headers_of(order))

        return idempotency.once(request, answer)

    @extend_schema(
        operation_id="get_order",
        summary="One order",
        description="Somebody else's order is not found.",
        parameters=[NUMBER, IF_NONE_MATCH, etag(200, 304)],
        responses={200: OrderSerializer, 304: None},
    )
    def retrieve(self, request: Request, number: str) -> Response:
        order = self.get_object()
        headers = {"ETag": etags.of(order)}
        if etags.is_known(request, etags.of(order)):
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers=headers)
        return Response(OrderSerializer(order).data, headers=headers)

    @extend_schema(
        operation_id="update_order",
        summary="Change an order, its status above all",
        description="An illegal step is a 409 with `allowed`. What happened before something that is known finds its "
        "place by `occurred_at`: `applied` tells whether it is a step of the order's story, and the order has the "
        "status that this story ends with. `ignored` names the fields of such an update that were not applied.",
        request=OrderUpdateSerializer,
        parameters=[NUMBER, IDEMPOTENCY_KEY, IF_MATCH, etag(200)],
        responses=ChangedOrderSerializer,
    )
    def partial_update(self, request: Request, number: str) -> Response | HttpResponse:
        order = self.get_object()
        tags = etags.required(request)
        update = OrderUpdateSerializer(data=needed(request))
        update.is_valid(raise_exception=True)
        given = dict(update.validated_data)
        _check_number(given.pop("number", None), order.number)
        if given.pop("customer", order.customer.get_username()) != order.customer.get_username():
            raise CustomerDiffers(f"Order {order.number} is another customer's.")

        def answer() -> Response:
            fields = dict(given)
            outcome = services.update_order(
                order=order,
                to=fields.pop("status", None),
                occurred_at=fields.pop("occurred_at", None),
                note=fields.pop("note", ""),
                notify=fields.pop("notify", True),
                fields=fields,
                actor=request.user,
                versions=etags.versions(tags, order),
            )
            return Response(ChangedOrderSerializer(outcome).data, headers={"ETag": etags.of(outcome.order)})

        return idempotency.once(request, answer)

    @extend_schema(
        operation_id="delete_order",
        summary="Delete an order",
        description="With its history and conversation. Its customer is told `order.removed`. For those who have "
        "`orders.delete_order`.",
        parameters=[NUMBER, IF_MATCH],
        responses={204: None},
    )
    def destroy(self, request: Request, number: str) -> Response:
        order = self.get_object()
        services.delete_order(order=order, versions=etags.versions(etags.required(request), order))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="put_order",
        summary="Create an order, or update it",
        description="The order as another system has it. What is absent stays as it is, and what changes nothing "
        "leaves no trace: no version, no history, no notification. A status is judged as in a PATCH; one that is late "
        "is named in `ignored`, and the other fields are applied.",
        request=PutOrderSerializer,
        parameters=[NUMBER, IDEMPOTENCY_KEY, IF_MATCH, ONLY_NEW, LOCATION, etag(200, 201)],
        responses={200: PutResultSerializer, 201: PutResultSerializer},
    )
    def update(self, request: Request, number: str) -> Response | HttpResponse:
        tags = etags.required(request)
        only_new = etags.only_new(request)
        body = PutOrderSerializer(data={"number": number, **needed(request)})
        body.is_valid(raise_exception=True)
        fields = dict(body.validated_data)
        _check_number(fields["number"], numbers.spelled(number))
        expected = False if only_new else True if "If-Match" in request.headers else None
        line = batch.whole(fields, there=expected, versions=etags.named(tags))

        def answer() -> Response:
            [put] = put_orders(lines=[line], **self._putting(request))
            if isinstance(put, OrderError):
                raise put
            order = put.order or self.get_queryset().get(number=line.number)
            created = put.result is Result.CREATED
            headers = _headers_of(order) if created else {"ETag": etags.of(order)}
            code = status.HTTP_201_CREATED if created else status.HTTP_200_OK
            return Response(PutResultSerializer(replace(put, order=order)).data, status=code, headers=headers)

        return idempotency.once(request, answer)

    def _putting(self, request: Request) -> dict[str, Any]:
        """What `put_orders` has to know of the caller."""
        may_create, may_change = map(request.user.has_perm, ("orders.add_order", "orders.change_order"))
        among = self.get_queryset()
        return {"among": among, "actor": request.user, "may_create": may_create, "may_change": may_change}

    @extend_schema(
        operation_id="change_orders",
        summary="Put up to 1,000 orders, or change their statuses",
        description="`orders` are created or updated as by PUT; `changes` are changes of statuses, as by PATCH. Each "
        "line gets its own result, and one that is refused harms no other.",
        request=batch.BatchSerializer,
        parameters=[IDEMPOTENCY_KEY],
        responses=batch.BatchResultSerializer,
    )
    @action(detail=False, methods=["post"], parser_classes=[BatchParser])
    def batch(self, request: Request) -> Response | HttpResponse:
        read = batch.read(request.data)
        if read.name == "changes" and not request.user.has_perm("orders.change_order"):
            raise PermissionDenied

        def answer() -> Response:
            if read.name == "orders":
                puts = put_orders(lines=read.accepted(Whole), **self._putting(request))
                return Response(batch.BatchResultSerializer(batch.results(read, puts)).data)
            outcomes = change_statuses(lines=read.accepted(Line), among=self.get_queryset(), actor=request.user)
            return Response(batch.BatchResultSerializer(batch.results(read, outcomes)).data)

        return idempotency.once(request, answer)

    @extend_schema(
        operation_id="get_history",
        summary="Every status change of an order, applied or not, newest first",
        description="In the order in which they were recorded. `applied` ones are the order's story.",
        parameters=[NUMBER],
        responses=StatusChangeSerializer(many=True),
    )
    @action(detail=True, methods=["get"], pagination_class=HistoryPages)
    def history(self, request: Request, number: str) -> Response:
        pages = HistoryPages()
        page = pages.paginate_queryset(history_of(self.get_object()), request)
        return pages.get_paginated_response(StatusChangeSerializer(page, many=True).data)

    @extend_schema(
        methods=["GET"],
        operation_id="list_messages",
        summary="The conversation about an order, newest first",
        description="Customers read their own, staff with the permission to view orders read all.",
        parameters=[NUMBER],
        responses=messages.MessageSerializer(many=True),
    )
    @extend_schema(
        methods=["POST"],
        operation_id="write_message",
        summary="Write about an order",
        description="For its customer, and for staff with `orders.reply_to_order`. 20 messages a minute, staff 120.",
        request=messages.NewMessageSerializer,
        parameters=[NUMBER],
        responses={201: messages.MessageSerializer, 200: messages.MessageSerializer},
    )
    @action(detail=True, methods=["get", "post"], pagination_class=MessagePages)
    def messages(self, request: Request, number: str) -> Response:
        order = self.get_object()
        return messages.write(request, order) if request.method == "POST" else messages.read(request, order)


def _headers_of(order: Order) -> dict[str, str]:
    """Of the answer to a request that has created it."""
    return {"Location": problems.address_of(order.number), "ETag": etags.of(order)}


def _check_number(given: str | None, number: str) -> None:
    """Raises ValidationError unless the number in a body is the one in the address."""
    if given not in (None, number):
        message = f"The address says {number}. A number does not change."
        raise ValidationError({"number": [message]}, code="number_differs")
