"""What access has to remember: tickets that were issued and not used, and credentials that ended before their time."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Ticket(models.Model):
    """A connection ticket that has been issued and not yet used; only its hash is kept."""

    digest = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    #: The credential that it was issued to: when that is revoked, so is what the ticket opened.
    key = models.CharField(max_length=64)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        permissions = (("issue_ticket", "Can issue connection tickets for customers"),)

    def __str__(self) -> str:
        return f"for {self.user_id} until {self.expires_at:%H:%M:%S}"


class Revocation(models.Model):
    """Credentials that ended before their time: all of a user's whose key begins with `key`. Kept for a day."""

    #: No foreign key: deleting a user revokes too.
    user_id = models.BigIntegerField()
    key = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.user_id} {self.key or 'all'} at {self.at}"
