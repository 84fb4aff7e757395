"""Where each channel stands: in the log as a whole, and in each stream. Written by `intake` and `cursors` alone."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from notifications.log.models import Stream

#: Characters of a channel's name, and of what one delivery is about.
MAX_NAME = 32
MAX_ABOUT = 128
#: Characters of an address: an e-mail address has at most 254 (RFC 5321, 4.5.3.1.3, without the angle brackets).
MAX_ADDRESS = 320


class ChannelMark(models.Model):
    """How far a channel has looked through the log, and whether what it delivers through is away."""

    channel = models.CharField(max_length=MAX_NAME, primary_key=True)
    #: What transactions below this number have appended need not be looked at again: `Notification.tx`.
    tx = models.BigIntegerField()
    looked_at = models.DateTimeField()
    #: How often in a row the way was closed, and when it is tried again.
    failures = models.PositiveIntegerField(default=0)
    paused_until = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.channel}: up to transaction {self.tx}"


class ChannelCursor(models.Model):
    """How far one stream was delivered through one channel; it has a row from the first news on."""

    channel = models.CharField(max_length=MAX_NAME)
    # The unique constraint's index begins with it.
    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="+", db_index=False)
    #: Everything up to this number was delivered, or need not be.
    sent_up_to = models.PositiveBigIntegerField(default=0)
    #: When it is looked at again; null if nothing waits. While a process delivers, when another one may take it over.
    due_at = models.DateTimeField(null=True)
    #: The end of what is being delivered, as long as some of it is.
    attempting_up_to = models.PositiveBigIntegerField(null=True)
    #: What of that was delivered: a list of what each delivery was about.
    delivered = models.JSONField(default=list)
    #: What is being delivered at this moment. Still there when the cursor is due: a process died over it.
    attempting = models.CharField(max_length=MAX_ABOUT, blank=True)
    #: Whether that is the second time, after such a death.
    again = models.BooleanField(default=False)
    #: Attempts in a row that failed.
    failures = models.PositiveIntegerField(default=0)
    #: The address that was refused for good: nothing is sent there any more.
    refused = models.CharField(max_length=MAX_ADDRESS, blank=True)
    #: When the user has said no to this channel.
    off_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        indexes = (
            # What is due: a small part of all cursors.
            models.Index(fields=("channel", "due_at"), name="channel_due", condition=Q(due_at__isnull=False)),
        )
        constraints = (
            models.UniqueConstraint(fields=("stream", "channel"), name="channel_cursor_is_one"),
            models.CheckConstraint(condition=Q(off_at__isnull=True) | Q(due_at__isnull=True), name="channel_off_waits"),
        )

    def __str__(self) -> str:
        return f"{self.channel} of {self.stream_id}: up to {self.sent_up_to}"
