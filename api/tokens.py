"""One's own tokens: to see what could call in one's name, and to end it. `admin` and `create_token` make them."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from knox.models import AuthToken
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.fields import Moment

ID = OpenApiParameter("token_key", OpenApiTypes.STR, OpenApiParameter.PATH, description="Its `id`.")


class TokenSerializer(serializers.Serializer):
    """What is shown of a token: nothing that it could be used by."""

    # Its first 15 of 64 digits: enough to tell tokens apart, and what is missing cannot be guessed.
    id = serializers.CharField(source="token_key")
    created_at = Moment(source="created")
    expires_at = Moment(source="expiry", allow_null=True)
    current = serializers.SerializerMethodField(help_text="Whether this request was made with it.")

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
        tokens = AuthToken.objects.filter(user=request.user.pk).order_by("-created", "digest")
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
