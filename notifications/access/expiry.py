"""What has expired is deleted: tickets, tokens, sessions, old revocations. Called once an hour; safe to run twice.

Nobody's socket ends by it, since all of this is over already.
"""

from __future__ import annotations

from django.apps import apps
from django.utils import timezone

from notifications import batches
from notifications.access import revocation
from notifications.access.models import Revocation, Ticket
from notifications.batches import Deadline


def clean_up(deadline: Deadline | None = None) -> int:
    """Gives the number of rows that were deleted. What is left when the deadline has passed is for the next call."""
    deadline = deadline or Deadline()
    now = timezone.now()
    deleted = batches.delete(Ticket.objects.filter(expires_at__lt=now), along="expires_at", deadline=deadline)
    seen_by_all = Revocation.objects.filter(at__lt=now - revocation.KEPT)
    deleted += batches.delete(seen_by_all, along="at", deadline=deadline)
    if apps.is_installed("knox"):
        from knox.models import AuthToken

        # Knox has no index on the expiry. There are as many tokens as systems and people that call.
        deleted += batches.delete(AuthToken.objects.filter(expiry__lt=now), along="digest", deadline=deadline)
    if apps.is_installed("django.contrib.sessions"):
        from django.contrib.sessions.models import Session

        expired = Session.objects.filter(expire_date__lt=now)
        deleted += batches.delete(expired, along="expire_date", deadline=deadline)
    return deleted
