"""`manage.py reconcile`: write the history of statuses that raw SQL has changed, and tell the customers."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from orders import selectors, services


class Command(BaseCommand):
    help = "Find orders whose status is not the last of their history; record the change and notify the customer."

    def handle(self, *args: Any, **options: Any) -> None:
        found = 0
        for number in selectors.numbers_of_unrecorded_changes():
            if services.record_unrecorded_change(number=number):
                found += 1
                self.stdout.write(number)
        self.stderr.write(f"{found} orders had changed unrecorded.")
