"""`manage.py set_aside ada@example.org Middlemarch`: a book is ready. A new reader's password is `library`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from lending import desk
from lending.models import Reader, Reservation


class Command(BaseCommand):
    help = "Set books aside for a reader, who is added if new, with the password 'library'."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("titles", nargs="*")

    def handle(self, *args: Any, **options: Any) -> None:
        reader = Reader.objects.filter(email=options["email"]).first()
        reader = reader or Reader.objects.create_user(options["email"], "library")
        for title in options["titles"]:
            desk.set_aside(Reservation.objects.create(reader=reader, title=title))
