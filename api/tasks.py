"""Housekeeping of this room's table, run by Celery's beat. Safe to run twice."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from api.idempotency import LIFETIME
from api.models import IdempotencyKey


@shared_task(name="api.delete_expired_idempotency_keys")
def delete_expired_idempotency_keys() -> int:
    """Delete the answers that are no longer repeated; gives their number."""
    deleted, _ = IdempotencyKey.objects.filter(created_at__lt=timezone.now() - LIFETIME).delete()
    return deleted
