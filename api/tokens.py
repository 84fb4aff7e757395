"""One's own tokens: to see what could call in one's name, and to end it. `admin` and `create_token` make them."""

from __future__ import annotations

from typing import Any

from knox.models import AuthToken
from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api import schema
from orders.selectors import rfc3339


class TokensView(APIView):
    """`/tokens`: the caller's own, newest first."""

    @schema.list_tokens
    def get(self, request: Request) -> Response:
        tokens = AuthToken.objects.filter(user=request.user.pk).order_by("-created", "digest")
        return Response({"results": [_shown(token, request) for token in tokens]})


class TokenView(APIView):
    """`/tokens/{id}`: revoking ends the sockets that the token has opened, too."""

    @schema.revoke_token
    def delete(self, request: Request, token_key: str) -> Response:
        tokens = AuthToken.objects.filter(user=request.user.pk, token_key=token_key)
        if not tokens.delete()[0]:
            raise NotFound
        return Response(status=status.HTTP_204_NO_CONTENT)


def _shown(token: AuthToken, request: Request) -> dict[str, Any]:
    return {
        # Its first 15 of 64 digits: enough to tell tokens apart, and what is missing cannot be guessed.
        "id": token.token_key,
        "created_at": rfc3339(token.created),
        "expires_at": rfc3339(token.expiry) if token.expiry else None,
        "current": isinstance(request.auth, AuthToken) and request.auth.digest == token.digest,
    }
