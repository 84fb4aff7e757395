"""The caller's own stream over HTTP, and what of it they have read.

Browsers ask for these again and again. So the answers are put together whole, which is many times cheaper than field by
field; the fields of their serializers are their description.
"""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.authentication import StreamAuthentication
from api.fields import Digits, Moment, Whole
from api.serializers import OrderSerializer, StrictSerializer
from notifications.log import stream
from notifications.log.stream import Page
from notifications.protocol import MAX_SEQ
from orders.messages import Side
from orders.notify import Kind
from orders.shapes import MAX_NUMBER

#: What a ticket was exchanged for reads the stream, and nothing else.
AUTHENTICATION = (StreamAuthentication, SessionAuthentication)


class NotificationQuery(StrictSerializer):
    """The query of `/notifications`. `wait` and `stream` are read before, by `notifications.sockets.polling`."""

    unknown = serializers.ErrorDetail("This parameter is not known.", code="unknown_parameter")

    after = Digits(min_value=0, max_value=MAX_SEQ, default=0, help_text="The last number that the caller holds.")
    limit = Digits(min_value=1, max_value=stream.PAGE, default=100)
    wait = serializers.FloatField(
        min_value=0, required=False, help_text="Seconds to wait, 25 at most, until there is something after `after`."
    )
    # Empty is none, as `polling` reads it: so the snapshot of a customer who is not known yet has it.
    stream = serializers.CharField(
        required=False, allow_blank=True, help_text="The stream of `after`: no waiting for one that is gone."
    )


class MessageMark(serializers.Serializer):
    """A message of the conversation about the order."""

    id = serializers.IntegerField(min_value=1)
    side = serializers.ChoiceField(choices=[Side.STAFF.value])


class NotificationSerializer(serializers.Serializer):
    """A frame of the stream, as the socket sends it."""

    type = serializers.ChoiceField(choices=["notification"])
    seq = serializers.IntegerField(min_value=1)
    kind = serializers.ChoiceField(choices=[kind.value for kind in Kind])
    at = Moment()
    order = OrderSerializer(allow_null=True)
    note = serializers.CharField(allow_blank=True, help_text="Of a message its beginning.")
    message = MessageMark(required=False, help_text="With `order.message`, which message it is.")


class ResetSerializer(serializers.Serializer):
    """What follows `after` is lost to the caller, or was never there."""

    stream = serializers.CharField()
    head = serializers.IntegerField(help_text="Fetch a snapshot, and go on from here.")
    reason = serializers.ChoiceField(["trimmed", "unknown_stream", "ahead"])


class NotificationsSerializer(serializers.Serializer):
    """One part of the stream, and how far the whole of it reaches."""

    user = serializers.CharField(help_text="Whose stream it is.")
    stream = serializers.CharField(help_text="The stream's id: a new one means that old numbers mean nothing.")
    head = serializers.IntegerField()
    unread = serializers.IntegerField()
    results = NotificationSerializer(many=True)
    reset = ResetSerializer(required=False)

    def to_representation(self, instance: Page) -> dict[str, Any]:
        """The context has the `user`."""
        position = instance.position
        shown = {
            "user": self.context["user"].get_username(),
            "stream": position.uid,
            "head": position.head,
            "unread": position.unread,
            # A frame was rendered when it was written, and is not rendered again.
            "results": [json.loads(entry.frame) for entry in instance.entries],
        }
        if instance.reset:
            shown["reset"] = {"stream": position.uid, "head": position.head, "reason": instance.reset}
        return shown


class ReadSerializer(StrictSerializer):
    """The body of `/notifications/read`."""

    up_to = Whole(min_value=0, max_value=MAX_NUMBER, help_text="Everything up to this number of the stream is read.")


class ReadMarkSerializer(serializers.Serializer):
    """How far the caller has read."""

    up_to = serializers.IntegerField()
    unread = serializers.IntegerField()

    def to_representation(self, instance: stream.Position) -> dict[str, Any]:
        return {"up_to": instance.read_up_to, "unread": instance.unread}


class UnreadSerializer(serializers.Serializer):
    """How many notifications are left to read."""

    unread = serializers.IntegerField()

    def to_representation(self, instance: stream.Position) -> dict[str, Any]:
        return {"unread": instance.unread}


class NotificationsView(APIView):
    """`/notifications`: the caller's own stream, the very frames that the socket sends."""

    authentication_classes = AUTHENTICATION

    @extend_schema(
        operation_id="list_notifications",
        summary="The caller's own stream",
        description="What follows `after`: the very frames that the socket sends. With `reset` some of it is lost, and "
        "the caller fetches a snapshot.",
        parameters=[NotificationQuery],
        responses=NotificationsSerializer,
    )
    def get(self, request: Request) -> Response:
        query = NotificationQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        uid = asked.get("stream") or None
        page = stream.read_page(_user_id(request), asked["after"], stream_uid=uid, limit=asked["limit"])
        return Response(NotificationsSerializer(page, context={"user": request.user}).data)


class ReadView(APIView):
    """`/notifications/read`: the same as the socket's `read` frame; every socket of the user is told."""

    authentication_classes = AUTHENTICATION

    @extend_schema(
        operation_id="mark_read",
        summary="Mark as read",
        description="Every socket of the caller is told. The mark never moves back.",
        request=ReadSerializer,
        responses=ReadMarkSerializer,
    )
    def post(self, request: Request) -> Response:
        body = ReadSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        position = stream.mark_read(_user_id(request), body.validated_data["up_to"])
        return Response(ReadMarkSerializer(position).data)


class UnreadCountView(APIView):
    """`/notifications/unread-count`: for a badge on a page that follows no stream."""

    authentication_classes = AUTHENTICATION

    @extend_schema(
        operation_id="count_unread",
        summary="How many are unread",
        description="For a badge on a page that follows no stream.",
        responses=UnreadSerializer,
    )
    def get(self, request: Request) -> Response:
        return Response(UnreadSerializer(stream.position(_user_id(request))).data)


def _user_id(request: Request) -> int:
    user_id: int = request.user.pk  # type: ignore[assignment]  # permission_classes let nobody else in
    return user_id
