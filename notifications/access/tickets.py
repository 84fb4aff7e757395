"""Connection tickets: how a browser on another origin proves who it is without a cookie and without a token in a URL.

The shop's back end asks for one over the API and hands it to its page, which offers it as a WebSocket subprotocol.
A ticket works once and within `TICKET_SECONDS`; the connection that it opens lasts `settings.TICKET_CONNECTION_SECONDS`
and is prolonged by another ticket.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.utils import timezone

from notifications.access.credentials import Credential
from notifications.access.models import Ticket

#: Long enough for a page to load on a slow phone, too short to be worth stealing.
TICKET_SECONDS = 30


class Issued(NamedTuple):
    """A new ticket, shown this once."""

    ticket: str
    expires_at: datetime


def issue(user_id: int, *, key: str = "") -> Issued:
    """A ticket for a user; `key` is that of the credential which asked for it."""
    ticket = secrets.token_urlsafe(24)
    expires_at = timezone.now() + timedelta(seconds=TICKET_SECONDS)
    Ticket.objects.create(digest=_digest(ticket), user_id=user_id, key=key, expires_at=expires_at)
    return Issued(ticket, expires_at)


def redeem(ticket: str) -> Credential | None:
    """The credential that a ticket gives, this once; None for one that is unknown, used or expired."""
    found = Ticket.objects.select_related("user").filter(digest=_digest(ticket)).first()
    # Two who come with the same ticket may both have found it; the row can be deleted by one of them only.
    if found is None or not Ticket.objects.filter(digest=found.digest).delete()[0]:
        return None
    now = timezone.now()
    if found.expires_at <= now or not found.user.is_active:
        return None
    return Credential(
        user_id=found.user.pk,
        username=found.user.get_username(),
        key=found.key or "ticket:",
        expires_at=now + timedelta(seconds=settings.TICKET_CONNECTION_SECONDS),
        # When it was issued: whatever was revoked since then ends this connection too.
        checked_at=found.expires_at - timedelta(seconds=TICKET_SECONDS),
    )


def delete_expired() -> int:
    """Delete the tickets that nobody has used; gives their number."""
    return Ticket.objects.filter(expires_at__lt=timezone.now()).delete()[0]


def _digest(ticket: str) -> str:
    # JSON can bring half of a surrogate pair, which is no text: it is no ticket either.
    return hashlib.sha256(ticket.encode(errors="surrogatepass")).hexdigest()
