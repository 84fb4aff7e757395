"""`manage.py rename_customer NAME NEW`: another name for a customer, whose orders, tokens and sockets stay."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orders.customers import NameTaken
from orders.renaming import rename_customer


class Command(BaseCommand):
    help = "Give a customer another name. Orders show it at once; log-ins, tokens and open pages go on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the customer's name")
        parser.add_argument("new", help="the name from now on")

    def handle(self, *args: Any, name: str, new: str, **options: Any) -> None:
        try:
            renamed = rename_customer(name=name, to=new)
        except get_user_model().DoesNotExist:
            raise CommandError(f"There is no customer named {name!r}.") from None
        except NameTaken as taken:
            raise CommandError(str(taken)) from None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stdout.write(f"{name} is {renamed.get_username()} now.")
