"""What has expired is deleted: tickets, tokens, sessions, old revocations. Called once an hour; safe to run twice."""

from __future__ import annotations

from django.apps import apps
from django.utils import timezone

from notifications.access import revocation, tickets


def clean_up() -> int:
    """Gives the number of rows that were deleted. Nobody's socket ends by it: all of this is over already."""
    now = timezone.now()
    deleted = tickets.delete_expired() + revocation.delete_old()
    if apps.is_installed("knox"):
        from knox.models import AuthToken

        deleted += AuthToken.objects.filter(expiry__lt=now).delete()[0]
    if apps.is_installed("django.contrib.sessions"):
        from django.contrib.sessions.models import Session

        deleted += Session.objects.filter(expire_date__lt=now).delete()[0]
    return deleted
