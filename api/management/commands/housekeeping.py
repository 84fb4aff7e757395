"""`manage.py housekeeping`: what Celery's beat does each hour, for a deployment without it."""

from __future__ import annotations

from typing import Any

from celery import current_app
from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Delete what has expired: notifications, tickets, tokens, sessions, idempotency keys."

    def handle(self, *args: Any, **options: Any) -> None:
        current_app.loader.import_default_modules()
        for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
            self.stdout.write(f"{name}: {current_app.tasks[str(entry['task'])]()}")
