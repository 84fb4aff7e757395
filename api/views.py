"""The orders: who may, and what is asked; the doing is `orders.services`', the seeing `orders.selectors`'."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import extend_schema_view
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from api import batch, etags, idempotency, schema
from api.filters import narrowed
from api.paging import OrderPages
from api.permissions import OrderPermission
from api.serializers import NewOrderSerializer, OrderSerializer, OrderUpdateSerializer, StatusChangeSerializer
from orders import services
from orders.batch import Line, change_statuses
from orders.models import Order
from orders.selectors import history_of, orders_visible_to, snapshot


@extend_schema_view(list=schema.list_orders)
class OrderViewSet(mixins.ListModelMixin, GenericViewSet):
    """`/orders`: customers read their own, staff with the model's permissions read, create and change all."""

    permission_classes = [OrderPermission]
    serializer_class = OrderSerializer
    pagination_class = OrderPages
    lookup_field = "number"
    lookup_value_regex = "[A-Za-z0-9][A-Za-z0-9._~-]{0,63}"

    def get_queryset(self) -> QuerySet[Order]:
        return orders_visible_to(self.request.user)

    def filter_queryset(self, queryset: QuerySet[Any, Any]) -> QuerySet[Any, Any]:
        """For the list, which REST framework asks for."""
        return narrowed(queryset, self.request.query_params)

    def get_object(self) -> Order:
        order: Order = get_object_or_404(self.get_queryset(), number=self.kwargs["number"])
        self.check_object_permissions(self.request, order)
        return order

    @schema.create_order
    def create(self, request: Request) -> Response | HttpResponse:
        new = NewOrderSerializer(data=request.data)
        new.is_valid(raise_exception=True)

        def answer() -> Response:
            order = services.create_order(actor=request.user, **new.validated_data)
            headers = {"Location": reverse("order-detail", args=[order.number]), "ETag": etags.of(order)}
            return Response(snapshot(order), status=status.HTTP_201_CREATED, headers=headers)

        return idempotency.once(request, answer)

    @schema.get_order
    def retrieve(self, request: Request, number: str) -> Response:
        order = self.get_object()
        headers = {"ETag": etags.of(order)}
        if etags.is_known(request, etags.of(order)):
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers=headers)
        return Response(snapshot(order), headers=headers)

    @schema.update_order
    def partial_update(self, request: Request, number: str) -> Response | HttpResponse:
        order = self.get_object()
        update = OrderUpdateSerializer(data=request.data)
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
                versions=etags.expected_versions(request),
            )
            body = {**snapshot(outcome.order), "applied": outcome.applied}
            return Response(body, headers={"ETag": etags.of(outcome.order)})

        return idempotency.once(request, answer)

    @schema.change_orders
    @action(detail=False, methods=["post"])
    def batch(self, request: Request) -> Response | HttpResponse:
        checked = batch.read(request.data)

        def answer() -> Response:
            lines = [line for line in checked if isinstance(line, Line)]
            results = change_statuses(lines=lines, among=self.get_queryset(), actor=request.user)
            return Response(batch.answer(checked, results))

        return idempotency.once(request, answer)

    @schema.get_history
    @action(detail=True, methods=["get"], pagination_class=None)
    def history(self, request: Request, number: str) -> Response:
        return Response(StatusChangeSerializer(history_of(self.get_object()), many=True).data)
