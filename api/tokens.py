"""Tokens: how they are made and called, and one's own, to see what could call in one's name and to end it.

`admin` and `create_token` make them, `config.request_id` asks for their names.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.db import DatabaseError, transaction
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from knox.models import AuthToken
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.fields import Moment
from api.models import TokenName

#: Tokens whose names a process remembers; a shop has a few, and each takes some 200 bytes.
REMEMBERED = 10_000

ID = OpenApiParameter("token_key", OpenApiTypes.STR, OpenApiParameter.PATH, description="Its `id`.")


def create(user: Any, *, days: int, name: str = "") -> str:
    """Make a token that lasts so many days, and give it: only its hash is kept.

    Raises Django's `ValidationError` for a name that cannot be.
    """
    with transaction.atomic():
        token, secret = AuthToken.objects.create(user, expiry=timedelta(days=days))
        call(token, name)
    return str(secret)


def call(token: AuthToken, name: str) -> None:
    """Give a new token its name; an empty one is none. Raises Django's `ValidationError` for one that cannot be."""
    if name := name.strip():
        label = TokenName(token=token, name=name)
        label.full_clean()
        label.save(force_insert=True)


def name_of(token: Any) -> str:
    """What the token is called; empty for one without a name, and for what is no token."""
    if not isinstance(token, AuthToken):
        return ""
    try:
        return _name_of(token.digest)
    except DatabaseError:  # away since the token was looked up; the name is for the log only
        return ""


@lru_cache(maxsize=REMEMBERED)
def _name_of(digest: str) -> str:
    """A name is never changed, so that it is asked for once in each process."""
    return TokenName.objects.filter(token=digest).values_list("name", flat=True).first() or ""


class TokenSerializer(serializers.Serializer):
    """What is shown of a token: nothing that it could be used by."""

    # Its first 15 of 64 digits: enough to tell tokens apart, and what is missing cannot be guessed.
    id = serializers.CharField(source="token_key")
    name = serializers.SerializerMethodField(help_text="What it is for, if its maker has said so; otherwise empty.")
    created_at = Moment(source="created")
    expires_at = Moment(source="expiry", allow_null=True)
    current = serializers.SerializerMethodField(help_text="Whether this request was made with it.")

    def get_name(self, token: AuthToken) -> str:
        return token.label.name if hasattr(token, "label") else ""

    def get_current(self, token: AuthToken) -> bool:
        used = self.context["request"].auth
        return isinstance(used, AuthToken) and used.digest == token.digest


class TokensSerializer(serializers.Serializer):
    results = TokenSerializer(many=True)


class TokensView(APIView):
    """`/tokens`: the caller's own, newest first."""

    @extend_schema(
        operation_id="list_tokens",
        summary="The caller's own tokens",
        description="Newest first. What could call in the caller's name, and nothing that it could be used by.",
        responses=TokensSerializer,
    )
    def get(self, request: Request) -> Response:
        tokens = AuthToken.objects.filter(user=request.user.pk).select_related("label")
        tokens = tokens.order_by("-created", "digest")
        return Response(TokensSerializer({"results": tokens}, context={"request": request}).data)


class TokenView(APIView):
    """`/tokens/{id}`: revoking ends the sockets that the token has opened, too."""

    @extend_schema(
        operation_id="revoke_token",
        summary="Revoke one of the caller's own tokens",
        description="It ends at once, with the sockets that it opened.",
        responses={204: None},
        parameters=[ID],
    )
    def delete(self, request: Request, token_key: str) -> Response:
        tokens = AuthToken.objects.filter(user=request.user.pk, token_key=token_key)
        if not tokens.delete()[0]:
            raise NotFound
        return Response(status=status.HTTP_204_NO_CONTENT)
