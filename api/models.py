"""What is known of calls and of no business: which requests have been answered already, and what tokens are called.

Only `idempotency` reads and writes its keys; `tasks` deletes what has expired. `tokens` says who names a token.
"""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models


class IdempotencyKey(models.Model):
    """One answer, under the key that its caller gave. A row exists once the change that it tells of has committed."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=255)
    #: SHA-256 of method, path and body, in hexadecimal digits.
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    headers = models.JSONField(default=dict)
    body = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "key"), name="idempotency_key_of_a_user"),)
        indexes = (
            # tasks.delete_expired_idempotency_keys
            models.Index(fields=("created_at",), name="idempotency_created"),
        )

    def __str__(self) -> str:
        return self.key


def printable(name: str) -> None:
    """Refuse what would break a line of the log."""
    if not name.isprintable():
        raise ValidationError("A name is printable and on one line.", code="not_printable")


class TokenName(models.Model):
    """What its maker calls a token: what it is for. Given with the token, and never changed; many have none."""

    #: As much as a line of the log has room for.
    MAX_LENGTH = 64

    token = models.OneToOneField("knox.AuthToken", on_delete=models.CASCADE, primary_key=True, related_name="label")
    name = models.CharField(max_length=MAX_LENGTH, validators=[printable])

    def __str__(self) -> str:
        return self.name
