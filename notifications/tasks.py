"""Housekeeping: what Celery's beat runs, and `manage.py housekeeping` where there is no beat. Safe to run twice."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone
from knox.models import AuthToken

from notifications.access import revocation, tickets
from notifications.log import stream


@shared_task(name="notifications.trim")
def trim() -> int:
    """Delete notifications older than `NOTIFICATION_RETENTION_DAYS`; gives their number."""
    return stream.trim(timezone.now() - timedelta(days=settings.NOTIFICATION_RETENTION_DAYS))


@shared_task(name="notifications.clean_up")
def clean_up() -> int:
    """Delete what has expired: tickets, tokens, sessions, old revocations; gives their number."""
    now = timezone.now()
    tokens, _ = AuthToken.objects.filter(expiry__lt=now).delete()
    sessions, _ = Session.objects.filter(expire_date__lt=now).delete()
    return int(tokens) + int(sessions) + tickets.delete_expired() + revocation.delete_old()
