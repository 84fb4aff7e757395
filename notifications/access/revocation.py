"""Revocation: a socket does not outlive the log-out, the token or the account that opened it.

Whatever ends a credential (a session or a token is deleted, a password changes, a user is deactivated or deleted) calls
`revoke` here, by signal. It is written down in the same transaction and announced after it, so every process closes
the sockets in question with 4502: by the hint at once, or by the tail check if the hint is lost.

`QuerySet.update(is_active=False)` and raw SQL send no signal: who uses them calls `revoke` as well.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_save
from django.dispatch import receiver
from django.utils import timezone
from knox.models import AuthToken

from notifications.access import credentials
from notifications.access.models import Revocation, Ticket
from notifications.hints import publish

#: How long a revocation stays, for processes that could not ask for a while.
KEPT = timedelta(days=1)


def revoke(user_id: int, key: str = "") -> None:
    """End the user's sockets whose credential's key begins with `key`; all of them without one."""
    with transaction.atomic():
        at = timezone.now()
        Revocation.objects.create(user_id=user_id, key=key, at=at)
        # The tickets that it has bought end with it.
        Ticket.objects.filter(user_id=user_id, key__startswith=key).delete()
        publish.on_commit(publish.Revoked(user_id, key, at.timestamp()))


def revoked_since(moment: datetime) -> list[Revocation]:
    """What was revoked after a moment, whoever it was."""
    return list(Revocation.objects.filter(at__gte=moment))


def delete_old() -> int:
    """Delete what every process has long seen; gives the number."""
    return Revocation.objects.filter(at__lt=timezone.now() - KEPT).delete()[0]


@receiver(post_delete, sender=Session)
def _session_deleted(*, instance: Session, **_: Any) -> None:
    # Logging out deletes the session; so does changing the session's key when the password changes.
    user_id = instance.get_decoded().get(SESSION_KEY)
    if user_id is not None:
        revoke(int(user_id), credentials.session_key_of(instance.session_key))


@receiver(post_delete, sender=AuthToken)
def _token_deleted(*, instance: AuthToken, **_: Any) -> None:
    revoke(instance.user_id, credentials.token_key(instance))


@receiver(pre_save, sender=settings.AUTH_USER_MODEL)
def _user_about_to_change(*, instance: Any, update_fields: frozenset[str] | None, **_: Any) -> None:
    instance._before = None
    # Every log-in saves last_login: that needs no query.
    if instance.pk and (update_fields is None or {"password", "is_active"} & set(update_fields)):
        users = get_user_model()._default_manager
        instance._before = users.filter(pk=instance.pk).values("password", "is_active").first()


@receiver(post_save, sender=settings.AUTH_USER_MODEL)
def _user_changed(*, instance: Any, **_: Any) -> None:
    before = instance._before
    if before is None:
        return
    if before["is_active"] and not instance.is_active:
        revoke(instance.pk)
    elif before["password"] != instance.password:
        # Django ends the sessions of who changes the password, and leaves tokens alone; so do the sockets.
        revoke(instance.pk, credentials.SESSION)


@receiver(post_delete, sender=settings.AUTH_USER_MODEL)
def _user_deleted(*, instance: Any, **_: Any) -> None:
    revoke(instance.pk)
