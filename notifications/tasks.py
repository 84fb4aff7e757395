"""The engine's housekeeping as Celery tasks, for beat; `manage.py tidy_notifications` does the same without Celery."""

from __future__ import annotations

from celery import shared_task

from notifications.access import expiry
from notifications.channels import run
from notifications.log import retention


@shared_task(name="notifications.trim")
def trim() -> int:
    """Delete notifications older than `NOTIFICATION_RETENTION_DAYS`; gives their number."""
    return retention.trim()


@shared_task(name="notifications.clean_up")
def clean_up() -> int:
    """Delete what has expired: tickets, tokens, sessions, old revocations; gives their number."""
    return expiry.clean_up()


@shared_task(name="notifications.deliver")
def deliver() -> int:
    """Deliver through every channel what its users have not seen for long enough; gives the number of deliveries."""
    return run.deliver()
