"""`manage.py create_token USER`: print a Bearer token, alone on its line, so that a script can take it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from knox.models import AuthToken

#: Tokens of systems live long, and are revoked when they are no longer needed.
DEFAULT_DAYS = 365
MAX_DAYS = 3650


class Command(BaseCommand):
    help = "Create a Bearer token for a user and print it, alone. It is shown this once: only its hash is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="the user's name")
        parser.add_argument(
            "--days", type=int, default=DEFAULT_DAYS, help="days until it expires (default: %(default)s)"
        )

    def handle(self, *args: Any, user: str, days: int, **options: Any) -> None:
        users = get_user_model()
        try:
            owner = users._default_manager.get_by_natural_key(user)
        except users.DoesNotExist:
            raise CommandError(f"There is no user named {user!r}.") from None
        if not 1 <= days <= MAX_DAYS:
            raise CommandError(f"--days is a number from 1 to {MAX_DAYS}.")
        _, token = AuthToken.objects.create(owner, expiry=timedelta(days=days))
        self.stdout.write(token)
