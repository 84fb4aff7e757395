"""`manage.py tidy_notifications`: the engine's housekeeping, once an hour, for a project without Celery's beat."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from notifications.access import expiry
from notifications.log import retention


class Command(BaseCommand):
    help = "Delete notifications older than NOTIFICATION_RETENTION_DAYS, and expired tickets, tokens and sessions."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{retention.trim()} notifications and {expiry.clean_up()} of what else had expired.")
