"""Revocation: a socket does not outlive the log-out, the token or the account that opened it.

Whatever ends a credential (a session or a token is deleted, a password changes, a user is deactivated or deleted) calls
`revoke` here, by signal. It is written down in the same transaction and announced after it, so every process closes
the sockets in question with 4502: by the hint at once, or by the tail check if the hint is lost. What the credential
has issued tickets for ends with it: the tickets, and the sockets that they opened, whoever's they are.

`QuerySet.update(is_active=False)` and raw SQL send no signal: code that uses them calls `revoke` as well.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.dispatch import receiver
from django.utils import timezone

from notifications import users
from notifications.access import credentials
from notifications.access.models import Revocation, Ticket
from notifications.hints import publish
from notifications.log import stream
from notifications.users import UserKey

if TYPE_CHECKING:
    from django.contrib.sessions.models import Session
    from knox.models import AuthToken

#: How long a revocation stays, for processes that could not ask for a while.
KEPT = timedelta(days=1)
#: How far the clocks of two of our processes may differ: a revocation errs towards ending what it may mean.
CLOCK_SKEW = timedelta(seconds=1)


def revoke(user_id: UserKey, key: str = "") -> None:
    """End the user's sockets whose credential's key begins with `key`, all of them without one; and with them the
    tickets that these credentials have issued, and the sockets which those have opened.
    """
    with transaction.atomic():
        _end(user_id, key)
        _end_issued(users.text(user_id), key)
        # A ticket that a request is just issuing may be committed before this is, and not be seen above.
        transaction.on_commit(partial(_end_issued, users.text(user_id), key), robust=True)
        if not key:
            Ticket.objects.filter(user_id=user_id).delete()


def _end(user_id: UserKey, key: str) -> None:
    at = timezone.now()
    Revocation.objects.create(user_id=users.text(user_id), key=key, at=at)
    publish.on_commit(publish.Revoked(user_id, key, at.timestamp(), stream.uid_of(user_id)))


def _end_issued(issuer: str, key: str) -> None:
    """Each user for whom the credential has issued a ticket gets a revocation of their own, so that the hub, which
    knows its sockets by their users, finds the ones that these tickets opened.
    """
    with transaction.atomic():
        issued = Ticket.objects.filter(issuer=issuer, key__startswith=key)
        for user_id, issued_with in set(issued.values_list("user_id", "key")):
            if users.text(user_id) != issuer:  # the user's own are ended already
                _end(user_id, f"{credentials.TICKET}{issued_with}")
        issued.delete()


def which_ended(tickets: Collection[Ticket]) -> set[str]:
    """The digests of those tickets whose issuing credential was revoked since they were issued."""
    issued = [ticket for ticket in tickets if ticket.issuer]
    if not issued:
        return set()
    since = min(ticket.issued_at for ticket in issued) - CLOCK_SKEW
    revoked = Revocation.objects.filter(user_id__in={ticket.issuer for ticket in issued}, at__gte=since)
    ends = list(revoked.values_list("user_id", "key", "at"))
    return {
        ticket.digest
        for ticket in issued
        for user_id, key, at in ends
        if user_id == ticket.issuer and ticket.key.startswith(key) and at >= ticket.issued_at - CLOCK_SKEW
    }


def listen() -> None:
    """Hear of sessions and tokens that are deleted, as far as the project has any. Called once, at the start."""
    if apps.is_installed("django.contrib.sessions"):
        post_delete.connect(_session_deleted, sender="sessions.Session")
    if apps.is_installed("knox"):
        post_delete.connect(_token_deleted, sender="knox.AuthToken")


def _session_deleted(*, instance: Session, **_: Any) -> None:
    # Logging out deletes the session; so does changing the session's key when the password changes. One that has
    # expired is swept away: its sockets have ended by then, and were told to come back and not to stop.
    user_id = instance.get_decoded().get(SESSION_KEY)
    if user_id is not None and not _is_over(instance.expire_date):
        revoke(users.key(user_id), credentials.session_key_of(instance.session_key))


def _token_deleted(*, instance: AuthToken, **_: Any) -> None:
    if not _is_over(instance.expiry):
        revoke(instance.user_id, credentials.token_key(instance))


def _is_over(expires_at: datetime | None) -> bool:
    return expires_at is not None and expires_at <= timezone.now()


@receiver(pre_save, sender=settings.AUTH_USER_MODEL)
def _user_about_to_change(*, instance: Any, update_fields: frozenset[str] | None, **_: Any) -> None:
    instance._before = None
    # Every log-in saves last_login: that needs no query.
    if instance.pk and (update_fields is None or {"password", "is_active"} & set(update_fields)):
        # The whole row: a user model need not have a column for whether somebody is active.
        instance._before = get_user_model()._default_manager.filter(pk=instance.pk).first()


@receiver(post_save, sender=settings.AUTH_USER_MODEL)
def _user_changed(*, instance: Any, **_: Any) -> None:
    before = instance._before
    if before is None:
        return
    if before.is_active and not instance.is_active:
        revoke(instance.pk)
    elif before.password != instance.password:
        # Django ends the sessions of a user whose password changes, and leaves tokens alone; so do the sockets.
        revoke(instance.pk, credentials.SESSION)


@receiver(pre_delete, sender=settings.AUTH_USER_MODEL)
def _user_about_to_be_deleted(*, instance: Any, **_: Any) -> None:
    # Before it, and in its transaction: the stream, whose id the hint names, goes with the user.
    revoke(instance.pk)
