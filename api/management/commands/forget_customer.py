"""`manage.py forget_customer NAME`: the person goes, the orders stay for the books. There is no way back."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.personal.forgetting import forget
from orders import customers


class Command(BaseCommand):
    help = "Remove all that tells who a customer is; end the log-ins and sockets; keep the orders. It cannot be undone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the customer's name")
        parser.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")

    def handle(self, *args: Any, name: str, dry_run: bool, **options: Any) -> None:
        customer = customers.called(customers.spelled(name))
        if customer is None:
            raise CommandError(f"There is no customer named {name!r}.")
        if getattr(customer, "is_staff", False) or getattr(customer, "is_superuser", False):
            raise CommandError(f"{name} is no customer but staff; take that from the account first.")
        for label, count in forget(customer, dry_run=dry_run).items():
            self.stdout.write(f"{label}: {count}")
        self.stdout.write("Nothing was changed." if dry_run else "Forgotten.")
