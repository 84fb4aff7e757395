"""`manage.py restart_streams`: after a backup was restored, before the service starts again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from notifications.log import stream


class Command(BaseCommand):
    help = "Begin every stream anew, so that clients who saw what the backup does not have fetch a snapshot."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{stream.restart_all()} streams begin anew.")
