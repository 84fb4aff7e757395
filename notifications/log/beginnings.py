"""Streams begin with their users, so that no first reader has to begin one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models.signals import post_save
from django.dispatch import receiver

from notifications.log.models import Stream


@receiver(post_save, sender=settings.AUTH_USER_MODEL)
def give_a_stream(*, instance: Any, created: bool, raw: bool, **_: Any) -> None:
    """Give a new user a stream.

    Otherwise the hub would begin it for the first reader, and wait for a transaction that is writing its first entry.
    """
    if created and not raw:
        Stream.objects.create(user=instance)
