"""What access has to remember: tickets, and credentials that ended before their time."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Ticket(models.Model):
    """A connection ticket; only its hash is kept. A used one stays while the connection that it opened may last.

    It ends with the credential that issued it, and so does that connection. One that was exchanged for a stream token
    stays under the token's hash.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    #: Whose credential issued it, as `users.text`; empty for none. No foreign key: deleting that user revokes too.
    issuer = models.CharField(max_length=255, blank=True)
    #: `Credential.key` of that credential.
    key = models.CharField(max_length=64, blank=True)
    #: When that credential expires; None if it does not.
    key_expires_at = models.DateTimeField(null=True)
    issued_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    #: Of an unused one, until when it can be used; of a used one, until when its connection may last.
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        permissions = (("issue_ticket", "Can issue connection tickets for other users"),)
        indexes = (
            # revocation: what a credential has issued.
            models.Index(fields=("issuer", "key"), name="ticket_issuer"),
        )

    def __str__(self) -> str:
        return f"for {self.user_id} until {self.expires_at:%H:%M:%S}"


class Revocation(models.Model):
    """Credentials that ended before their time: all of a user's whose key begins with `key`. Kept for a day."""

    #: The user's key as `users.text`. No foreign key: deleting a user revokes too.
    user_id = models.CharField(max_length=255)
    key = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.user_id} {self.key or 'all'} at {self.at}"
