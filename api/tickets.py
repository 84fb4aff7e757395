"""Tickets for a socket, over HTTP: a shop's back end asks for one, and its page opens the socket with it.

Where no socket opens, the page exchanges it for a stream token. `notifications.access.tickets` makes and redeems both;
here is who may have one for whom.
"""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from knox.models import AuthToken
from rest_framework import serializers, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.authentication import FreshAuthentication
from api.fields import Moment, StoredName, Text
from api.serializers import StrictSerializer
from notifications.access import credentials, tickets
from notifications.access.credentials import Credential
from notifications.access.delegation import ACT_FOR_OTHERS, may_act_for
from orders import customers, services

#: Characters of a ticket that is looked up; ours have 32.
MAX_TICKET = 200


class TicketSerializer(StrictSerializer):
    """Whose socket a ticket opens, and the ticket."""

    customer = StoredName(
        required=False,
        write_only=True,
        help_text="A user name in its stored spelling, created if unknown; the caller's own if absent.",
    )
    ticket = serializers.CharField(read_only=True, help_text="Works once, for 30 seconds.")
    expires_at = Moment(read_only=True)


class TicketsView(APIView):
    """`/tickets`: a shop's back end asks for one, its page opens the socket with it."""

    authentication_classes = (FreshAuthentication, SessionAuthentication)

    @extend_schema(
        operation_id="issue_ticket",
        summary="A ticket that opens one socket",
        description="A shop's back end asks for it, and its page opens the socket with it. For somebody else than the "
        "caller it takes the permission to issue tickets.",
        request=TicketSerializer,
        responses={201: TicketSerializer},
        # The same tokens as everywhere, asked for afresh.
        auth=[{"token": []}, {"cookieAuth": []}],  # type: ignore[list-item]  # requirements, and not names
    )
    def post(self, request: Request) -> Response:
        body = TicketSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        customer = body.validated_data.get("customer")
        # A shop passes on its customers' names: a customer who is called as the shop's account must not become it.
        if customer is None or (customer == request.user.get_username() and is_customer(request.user)):
            user_id: int = request.user.pk  # type: ignore[assignment]  # permission_classes let nobody else in
            issued = tickets.issue(user_id, by=_credential(request))
        elif request.user.has_perm(ACT_FOR_OTHERS):
            issued = tickets.issue(_customer(customer, maker=request.user).pk, by=_credential(request))
        else:
            raise PermissionDenied(f"Tickets for others need the permission {ACT_FOR_OTHERS}.")
        headers = {"Cache-Control": "no-store"}
        return Response(TicketSerializer(issued).data, status=status.HTTP_201_CREATED, headers=headers)


class ExchangeSerializer(StrictSerializer):
    """A ticket, and what it is exchanged for."""

    ticket = Text(max_length=MAX_TICKET, write_only=True, trim_whitespace=False)
    token = serializers.CharField(read_only=True, help_text="A Bearer token for the customer's own stream alone.")
    expires_at = Moment(read_only=True)


class InvalidTicket(AuthenticationFailed):
    default_code = "invalid_ticket"
    default_detail = "The ticket is unknown, used, expired or revoked."


class ExchangeView(APIView):
    """`/tickets/exchange`: for pages where no WebSocket opens. The ticket is all that the caller shows."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="exchange_ticket",
        summary="A stream token for a ticket",
        description="For pages where no WebSocket opens. The ticket is all that the caller shows.",
        request=ExchangeSerializer,
        responses={201: ExchangeSerializer},
    )
    def post(self, request: Request) -> Response:
        body = ExchangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        exchanged = tickets.exchange(body.validated_data["ticket"])
        if exchanged is None:
            raise InvalidTicket
        headers = {"Cache-Control": "no-store"}
        return Response(ExchangeSerializer(exchanged).data, status=status.HTTP_201_CREATED, headers=headers)

    def get_authenticate_header(self, request: Request) -> str:
        """A 401 names what helps (RFC 9110, 11.6.1)."""
        return "Ticket"


def _credential(request: Request) -> Credential:
    """What the caller came with: the tickets that it asks for end with it."""
    if isinstance(request.auth, AuthToken):
        return credentials.of_token(request.auth, timezone.now())
    # A caller without a token has a session; it may have ended since it was looked at.
    found = credentials.from_session(str(request.session.session_key))
    if found is None:
        raise NotAuthenticated
    return found


def _customer(name: str, *, maker: Any) -> Any:
    """`known_customer`; created, as for an order, if there is no such user."""
    if known_customer(name, maker=maker) is None:
        services.customer_named(name)
    # Asked again: another may have made a user of that name meanwhile, who is no customer.
    return known_customer(name, maker=maker)


def known_customer(name: str, *, maker: Any) -> Any:
    """The customer of that name, for whom `maker` may act; None if there is no such user yet.

    Raises ValidationError for a user who is none, and for a spelling that no user can have; `CustomerExists` if there
    is a customer whose name differs only by case or spelling.
    """
    customer = customers.called(name)
    if customer is None and name == customers.spelled(name):
        other = customers.alike(name)
        if other is None:
            return None
        if _may_have_ticket(other, maker):
            raise services.CustomerExists(name, existing=other.get_username())
    if customer is None or not _may_have_ticket(customer, maker):
        raise serializers.ValidationError({"customer": ["There is no customer of that name."]}, code="unknown_customer")
    return customer


def _may_have_ticket(user: Any, maker: Any) -> bool:
    return bool(user.is_active and is_customer(user) and may_act_for(maker, user))


def is_customer(user: Any) -> bool:
    """Whether the user may do no more than any customer: a ticket must not make its holder somebody who may."""
    return not (user.is_staff or user.is_superuser or user.get_all_permissions())
