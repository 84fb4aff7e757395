"""Connection tickets: how a browser on another origin proves who it is without a cookie and without a token in a URL.

The back end of that page's site asks for one over the API and hands it to the page, which offers it as a WebSocket
subprotocol. A ticket works once and within `TICKET_SECONDS`; the connection that it opens lasts
`settings.TICKET_CONNECTION_SECONDS` and is prolonged by another ticket. Where WebSockets are blocked, the page
exchanges its ticket for a stream token instead, which lasts as long, is sent as a Bearer token, and is good for the
user's own stream over HTTP and for nothing else. None of them outlives the credential that issued the ticket:
`revocation` ends them with it, and the earlier of the two expiries counts.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from notifications import users
from notifications.access import credentials, revocation
from notifications.access.credentials import Credential
from notifications.access.models import Ticket
from notifications.conf import settings
from notifications.users import UserKey

#: Long enough for a page to load on a slow phone, too short to be worth stealing.
TICKET_SECONDS = 30
#: How stream tokens begin. No ticket and no token of knox's has a dot in it, so that none is taken for another.
STREAM_TOKEN = "stream."  # noqa: S105 -- a prefix


class Issued(NamedTuple):
    """A new ticket, shown this once."""

    ticket: str
    expires_at: datetime


class Exchanged(NamedTuple):
    """A stream token, shown this once."""

    token: str
    expires_at: datetime


def issue(user_id: UserKey, *, by: Credential | None = None) -> Issued:
    """A ticket for a user; `by` is the credential that asked for it, the user's own or another's, and ends it.

    Without one (code of the project's own asks) nothing but the user's own end and time end it.
    """
    ticket = secrets.token_urlsafe(24)
    now = timezone.now()
    key_expires_at = by.expires_at if by else None
    expires_at = _earlier(now + timedelta(seconds=TICKET_SECONDS), key_expires_at)
    Ticket.objects.create(
        digest=_digest(ticket),
        user_id=user_id,
        issuer=users.text(by.user_id) if by else "",
        key=by.key if by else "",
        key_expires_at=key_expires_at,
        issued_at=now,
        expires_at=expires_at,
    )
    return Issued(ticket, expires_at)


def redeem(ticket: str) -> Credential | None:
    """The credential that a ticket gives, this once; None for one that is unknown, used, expired or revoked."""
    return redeem_all([ticket])[0]


def redeem_all(tickets: Sequence[str]) -> list[Credential | None]:
    """`redeem` of many together; one that is there twice gives a credential once."""
    used = _use({_digest(ticket) for ticket in tickets})
    found = [used.pop(_digest(ticket), None) for ticket in tickets]
    return [None if ticket is None else _credential(ticket) for ticket in found]


def exchange(ticket: str) -> Exchanged | None:
    """A stream token for a ticket, this once; None for one that is unknown, used, expired or revoked."""
    token = STREAM_TOKEN + secrets.token_urlsafe(32)
    digest = _digest(ticket)
    used = _use({digest}).get(digest)
    # A credential that ends meanwhile deletes what it has issued; then there is nothing to be kept under the token.
    if used is None or not Ticket.objects.filter(digest=digest).update(digest=_digest(token)):
        return None
    return Exchanged(token, used.expires_at)


def find_exchanged(token: str) -> Ticket | None:
    """The ticket that was exchanged for that stream token, with its active user; None if that has expired or ended."""
    if not token.startswith(STREAM_TOKEN):
        return None
    # What ends it deletes it.
    found = Ticket.objects.select_related("user").filter(digest=_digest(token), expires_at__gt=timezone.now()).first()
    return found if found is not None and found.user.is_active else None


def from_stream_tokens(tokens: Sequence[str]) -> list[Credential | None]:
    """The credential that each of these stream tokens gives."""
    found = [find_exchanged(token) for token in tokens]
    return [None if ticket is None else _credential(ticket) for ticket in found]


def _use(digests: Collection[str]) -> dict[str, Ticket]:
    """Mark these tickets as used, and give those that were good, with their users, by their digests.

    They are kept while what they open may last. One statement finds and marks them: of two who come with the same
    ticket at once, only one finds it unused.
    """
    now = timezone.now()
    lasts_until = now + timedelta(seconds=settings.TICKET_CONNECTION_SECONDS)
    at, until = (connection.ops.adapt_datetimefield_value(moment) for moment in (now, lasts_until))
    table = connection.ops.quote_name(Ticket._meta.db_table)
    # Whatever ends a credential deletes its tickets, in an order of its own: two who waited for each other's rows would
    # be a deadlock. A ticket that somebody holds is being used or deleted, and so is none.
    lock = "FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    used = list(
        Ticket.objects.raw(
            f"UPDATE {table} SET used_at = %s, "  # noqa: S608 # nosec B608
            "expires_at = CASE WHEN key_expires_at < %s THEN key_expires_at ELSE %s END "
            f"WHERE digest IN (SELECT digest FROM {table} "
            f"WHERE digest IN ({', '.join(['%s'] * len(digests))}) AND used_at IS NULL AND expires_at > %s {lock}) "
            "RETURNING *",
            [at, until, until, *digests, at],
        )
    )
    ended = revocation.which_ended(used)
    users_found = get_user_model()._default_manager.in_bulk({ticket.user_id for ticket in used}) if used else {}
    good = {}
    for ticket in used:
        user = users_found.get(ticket.user_id)
        if user is not None and user.is_active and ticket.digest not in ended:
            ticket.user = user
            good[ticket.digest] = ticket
    return good


def _credential(used: Ticket) -> Credential:
    return Credential(
        user_id=used.user.pk,
        username=used.user.get_username(),
        key=_key_of(used),
        expires_at=used.expires_at,
        # When it was issued: whatever was revoked since then ends this connection too.
        checked_at=used.issued_at,
    )


def _key_of(ticket: Ticket) -> str:
    """A user's own ticket is as good as what it was issued with; one that another issued is of a kind of its own, which
    the user's own log-out or new password does not end.
    """
    if ticket.key and ticket.issuer == users.text(ticket.user_id):
        return ticket.key
    return f"{credentials.TICKET}{ticket.key}"


def _earlier(one: datetime, other: datetime | None) -> datetime:
    return one if other is None else min(one, other)


def _digest(ticket: str) -> str:
    # JSON can bring half of a surrogate pair, which is no text: it is no ticket either.
    return hashlib.sha256(ticket.encode(errors="surrogatepass")).hexdigest()
