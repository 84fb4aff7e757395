"""The desk: a reserved book has come back, and its reader is told. The one place where the library uses the engine."""

from django.db import transaction
from django.utils import timezone

from lending.models import Reservation
from notifications.log import stream


@transaction.atomic
def set_aside(reservation: Reservation) -> None:
    """The book waits for its reader: the change and the notification commit together, or neither does."""
    reservation.ready_at = timezone.now()
    reservation.save(update_fields=["ready_at"])
    book = {"id": reservation.pk, "title": reservation.title}
    stream.append(
        [stream.Event(reservation.reader_id, kind="book.ready", at=reservation.ready_at, body={"book": book})]
    )
