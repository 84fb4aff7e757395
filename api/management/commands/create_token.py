"""`manage.py create_token USER`: print a Bearer token, alone on its line, so that a script can take it.

With `--create` also the account of a system, which has a token and no password: `--permissions` says what it may do,
`--name` what the token is for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from api import tokens
from orders import customers

#: Tokens of systems live long, and are revoked when they are no longer needed.
DEFAULT_DAYS = 365
MAX_DAYS = 3650
#: What a name without a dot stands for. `api` is what a shop's systems need every day; to delete orders, or to set any
#: status, is more than that.
PRESETS = {
    "api": ("orders.view_order", "orders.add_order", "orders.change_order", "notifications.issue_ticket"),
}


class Command(BaseCommand):
    help = "Create a Bearer token for a user and print it, alone. It is shown this once: only its hash is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="the user's name")
        parser.add_argument(
            "--days", type=int, default=DEFAULT_DAYS, help="days until it expires (default: %(default)s)"
        )
        parser.add_argument("--create", action="store_true", help="make the user, without a password, if there is none")
        parser.add_argument(
            "--permissions",
            nargs="+",
            default=[],
            metavar="APP.NAME",
            help="what the user may do from now on, beside what they may already: orders.view_order, say, "
            "or api for what a shop's systems need",
        )
        parser.add_argument("--name", default="", help="what the token is for, in lists and in the log")

    @transaction.atomic
    def handle(
        self, *args: Any, user: str, days: int, create: bool, permissions: list[str], name: str, **options: Any
    ) -> None:
        if not 1 <= days <= MAX_DAYS:
            raise CommandError(f"--days is a number from 1 to {MAX_DAYS}.")
        granted = [_permission(one) for one in _spelled_out(permissions)]
        owner = _user(user, create=create)
        owner.user_permissions.add(*granted)
        try:
            token = tokens.create(owner, days=days, name=name)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stdout.write(token)


def _user(name: str, *, create: bool) -> Any:
    users = get_user_model()
    name = customers.spelled(name)
    found = customers.called(name)
    if found is not None:
        return found
    if (other := customers.alike(name)) is not None:
        raise CommandError(f"There is no user named {name!r}, but one named {other.get_username()!r}.")
    if not create:
        raise CommandError(f"There is no user named {name!r}; --create makes one.")
    made = users(**{users.USERNAME_FIELD: name})
    made.set_unusable_password()
    try:
        customers.check_name(name)
        # The user model's own rule for names is narrower than that of the shop's.
        made.full_clean(exclude=[users.USERNAME_FIELD])
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    made.save()
    return made


def _spelled_out(permissions: Iterable[str]) -> Iterable[str]:
    for name in permissions:
        yield from PRESETS.get(name, (name,))


def _permission(name: str) -> Permission:
    app, _, codename = name.partition(".")
    try:
        return Permission.objects.get(content_type__app_label=app, codename=codename)
    except Permission.DoesNotExist:
        raise CommandError(f"There is no permission {name!r}.") from None
