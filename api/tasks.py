"""Housekeeping of this room's table, run by Celery's beat. Safe to run twice."""

from __future__ import annotations

from celery import shared_task

from api import idempotency


@shared_task(name="api.delete_expired_idempotency_keys")
def delete_expired_idempotency_keys() -> int:
    """Delete the answers that are no longer repeated; gives their number."""
    return idempotency.delete_expired_idempotency_keys()
