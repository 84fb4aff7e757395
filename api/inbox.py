"""The caller's own stream over HTTP, what of it they have read, and tickets for a socket that follows it live."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth import get_user_model
from knox.models import AuthToken
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api import schema
from api.serializers import NotificationQuery, ReadSerializer, TicketSerializer
from notifications.access import credentials, tickets
from notifications.log import stream
from orders.selectors import rfc3339


class NotificationsView(APIView):
    """`/notifications`: the caller's own stream, the very frames that the socket sends."""

    @schema.list_notifications
    def get(self, request: Request) -> Response:
        query = NotificationQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        user_id = _user_id(request)
        # The position first: what is appended in between is in the results, beyond the head, and is not lost.
        position = stream.position(user_id)
        after, limit = query.validated_data["after"], query.validated_data["limit"]
        entries = stream.read_after({user_id: after}, limit=limit)[user_id]
        return Response(
            {
                "user": request.user.get_username(),
                "stream": position.uid,
                "head": position.head,
                "unread": position.unread,
                "results": [json.loads(entry.frame) for entry in entries],
            }
        )


class ReadView(APIView):
    """`/notifications/read`: the same as the socket's `read` frame; every socket of the user is told."""

    @schema.mark_read
    def post(self, request: Request) -> Response:
        body = ReadSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        position = stream.mark_read(_user_id(request), body.validated_data["up_to"])
        return Response({"up_to": position.read_up_to, "unread": position.unread})


class UnreadCountView(APIView):
    """`/notifications/unread-count`: for a badge on a page that follows no stream."""

    @schema.count_unread
    def get(self, request: Request) -> Response:
        return Response({"unread": stream.position(_user_id(request)).unread})


class TicketsView(APIView):
    """`/tickets`: a shop's back end asks for one, its page opens the socket with it."""

    @schema.issue_ticket
    def post(self, request: Request) -> Response:
        body = TicketSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        customer = body.validated_data.get("customer")
        # A shop passes on its customers' names: one who is called as its own account must not become that account.
        if customer is None or (customer == request.user.get_username() and _is_customer(request.user)):
            # It ends with the credential that asked for it.
            issued = tickets.issue(_user_id(request), key=_credential_key(request))
        elif request.user.has_perm("notifications.issue_ticket"):
            issued = tickets.issue(_customer(customer).pk)
        else:
            raise PermissionDenied("Tickets for others need the permission notifications.issue_ticket.")
        return Response(
            {"ticket": issued.ticket, "expires_at": rfc3339(issued.expires_at)},
            status=status.HTTP_201_CREATED,
            headers={"Cache-Control": "no-store"},
        )


def _user_id(request: Request) -> int:
    user_id: int = request.user.pk  # type: ignore[assignment]  # permission_classes let nobody else in
    return user_id


def _credential_key(request: Request) -> str:
    if isinstance(request.auth, AuthToken):
        return credentials.token_key(request.auth)
    # Who has no token has a session.
    return credentials.session_key_of(str(request.session.session_key))


def _customer(name: str) -> Any:
    """The customer of that name; raises ValidationError."""
    customer = get_user_model()._default_manager.filter(username=name, is_active=True).first()
    if customer is None or not _is_customer(customer):
        raise serializers.ValidationError({"customer": ["There is no customer of that name."]}, code="unknown_customer")
    return customer


def _is_customer(user: Any) -> bool:
    """Whether the user may do no more than any customer: who speaks for customers must not become somebody who may."""
    return not (user.is_staff or user.is_superuser or user.get_all_permissions())
