"""Which requests have been answered already: knowledge of HTTP and of no business, and so the one table of this room.

Only `idempotency` reads and writes it; `tasks` deletes what has expired.
"""

from __future__ import annotations

from django.conf import settings
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
