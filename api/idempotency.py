"""`Idempotency-Key`: a request that is sent again gets the answer of the first, and changes nothing twice.

Called by the views that write, and by `tasks`. The key, the change, its history and its notifications are one
transaction, so a crash leaves a key neither stuck nor spent: it leaves nothing. What was refused changed nothing, so it
is not kept, and the request is tried afresh (409, 429 and 5xx must not be replayed; the other refusals are repeated by
the rule that made them). After draft-ietf-httpapi-idempotency-key-header, and Stripe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from django.db import connection, transaction
from django.http import HttpResponse
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api.models import IdempotencyKey
from notifications import batches
from notifications.batches import Deadline

#: How long an answer is kept: who retries for longer has lost its queue, and looks at the order first.
LIFETIME = timedelta(hours=24)
MAX_LENGTH = 255
#: Headers that belong to an answer and not to the moment it was given.
KEPT_HEADERS = ("ETag", "Location")


class KeyInUse(exceptions.APIException):
    """The first request with this key is still running."""

    status_code = HTTPStatus.CONFLICT
    default_code = "idempotency_key_in_use"
    default_detail = "A request with this Idempotency-Key is still running. Try again in a moment."
    wait = 1


class KeyReused(exceptions.APIException):
    """One key for two requests: one of them would never be carried out."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key belongs to another request. Use a new key for each request."


def once(request: Request, answer: Callable[[], Response]) -> Response | HttpResponse:
    """The answer, made now, or the one that was given for the same key before.

    Without the header `answer` is simply called. Raises `KeyInUse`, `KeyReused`, and whatever `answer` raises.
    """
    if "Idempotency-Key" not in request.headers:
        return answer()
    key = _read(request.headers["Idempotency-Key"])
    fingerprint = _fingerprint(request)
    user_id: int = request.user.pk  # type: ignore[assignment]  # the views let nobody else in
    with transaction.atomic():
        locked = _lock(user_id, key)
        known = IdempotencyKey.objects.filter(user=user_id, key=key).first()
        if known is not None and known.created_at < timezone.now() - LIFETIME:
            known.delete()
            known = None
        if known is not None:
            return _again(known, fingerprint)
        if not locked:
            raise KeyInUse
        response = answer()
        IdempotencyKey.objects.create(
            user_id=user_id,
            key=key,
            fingerprint=fingerprint,
            status=response.status_code,
            headers={name: response[name] for name in KEPT_HEADERS if name in response},
            body=JSONRenderer().render(response.data).decode(),
            created_at=timezone.now(),
        )
        return response


def delete_expired_idempotency_keys(deadline: Deadline | None = None) -> int:
    """Delete the answers that are no longer repeated; gives their number. The rest is for the next call."""
    expired = IdempotencyKey.objects.filter(created_at__lt=timezone.now() - LIFETIME)
    return batches.delete(expired, along="created_at", deadline=deadline or Deadline())


def _read(header: str) -> str:
    """The key, quoted as the draft has it or bare as most send it."""
    key = header.strip()
    if key[:1] == '"' == key[-1:]:
        key = key[1:-1]
    if not (0 < len(key) <= MAX_LENGTH and key.isascii() and key.isprintable()):
        raise exceptions.ValidationError(
            {"Idempotency-Key": [f"A key has 1 to {MAX_LENGTH} printable ASCII characters."]}, code="invalid"
        )
    return key


def _fingerprint(request: Request) -> str:
    """Of what was asked, not of its spelling: a client that builds its body anew may order its fields otherwise."""
    body: Any = json.dumps(request.data, sort_keys=True)
    return hashlib.sha256(f"{request.method} {request.get_full_path()}\n{body}".encode()).hexdigest()


def _lock(user_id: Any, key: str) -> bool:
    """Whether this transaction is the only one at the key; never waits, and ends with the transaction.

    A row that another transaction has inserted and not committed cannot be seen, and inserting beside it would wait
    for the other's end: so PostgreSQL is asked for an advisory lock on a number made of user and key. On SQLite the
    transaction holds the only write lock there is, and who comes second has waited for it already.
    """
    if connection.vendor != "postgresql":
        return True
    digest = hashlib.sha256(f"idempotency {user_id} {key}".encode()).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [int.from_bytes(digest[:8], signed=True)])
        [locked] = cursor.fetchone()
    return bool(locked)


def _again(known: IdempotencyKey, fingerprint: str) -> HttpResponse:
    if known.fingerprint != fingerprint:
        raise KeyReused
    headers = {**known.headers, "Idempotent-Replayed": "true"}
    return HttpResponse(known.body, status=known.status, headers=headers, content_type="application/json")
