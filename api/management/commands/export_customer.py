"""`manage.py export_customer NAME`: all that is kept of a customer, as JSON on standard output."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.personal.export import export
from orders import customers


class Command(BaseCommand):
    help = "Print everything that is kept of a customer as one JSON object, but for what could be used to log in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the customer's name")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        customer = customers.called(customers.spelled(name))
        if customer is None:
            raise CommandError(f"There is no customer named {name!r}.")
        for piece in export(customer):
            self.stdout.write(piece, ending="")
