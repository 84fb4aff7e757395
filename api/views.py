"""The orders over HTTP: what is asked and who may. `orders.services` changes them, `orders.selectors` finds them."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from api import batch, etags, idempotency, messages
from api.changes import ChangePages
from api.filters import OrderQuery, narrowed
from api.messages import HistoryPages
from api.paging import OrderPages
from api.parsers import needed
from api.permissions import OrderPermission
from api.schema import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, LOCATION, NUMBER, etag
from api.serializers import (
    ChangedOrderSerializer,
    NewOrderSerializer,
    OrderSerializer,
    OrderUpdateSerializer,
    StatusChangeSerializer,
)
from orders import numbers, services
from orders.bulk import Line, change_statuses
from orders.models import Order
from orders.selectors import history_of, order_visible_to, orders_visible_to


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
            order = services.create_order(actor=request.user, **new.validated_data)
            location = f"{reverse('order-list')}/{numbers.in_path(order.number)}"
            headers = {"Location": location, "ETag": etags.of(order)}
            return Response(OrderSerializer(order).data, status=status.HTTP_201_CREATED, headers=headers)

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

        def answer() -> Response:
            fields = dict(update.validated_data)
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
        operation_id="change_orders",
        summary="Change the statuses of up to 1,000 orders",
        description="Each line gets its own result, and one that is refused harms no other.",
        request=batch.BatchSerializer,
        parameters=[IDEMPOTENCY_KEY],
        responses=batch.BatchResultSerializer,
    )
    @action(detail=False, methods=["post"])
    def batch(self, request: Request) -> Response | HttpResponse:
        checked = batch.read(request.data)

        def answer() -> Response:
            lines = [line for line in checked if isinstance(line, Line)]
            outcomes = change_statuses(lines=lines, among=self.get_queryset(), actor=request.user)
            return Response(batch.BatchResultSerializer(batch.results(checked, outcomes)).data)

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
    @action(detail=True, methods=["get", "post"], pagination_class=messages.MessagePages)
    def messages(self, request: Request, number: str) -> Response:
        order = self.get_object()
        return messages.write(request, order) if request.method == "POST" else messages.read(request, order)
