"""What the engine's own tables keep of people, and those of Django and of knox that it reads.

Read at the start, before the tables of the project's apps, so that users' credentials go first.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import SESSION_KEY, get_user_model
from django.db import connection
from django.db.models import F, QuerySet

from notifications import users
from notifications.log.models import Notification, Stream
from notifications.personal.tables import TEXTS, Table, User, declare, deleting


def _sessions(user: User) -> QuerySet[Any]:
    """Whose a session is, stands in its signed data alone: each is opened, some tens of thousands a second."""
    from django.contrib.sessions.models import Session

    theirs = [
        session.pk
        for session in Session.objects.iterator()
        if session.get_decoded().get(SESSION_KEY) == users.text(user.pk)
    ]
    return Session.objects.filter(pk__in=theirs)


def _forget_notifications(user: User) -> int:
    """The stream stays, and remembers that everything in it was trimmed."""
    # First the stream: its lock keeps everybody from adding to it.
    Stream.objects.filter(pk=user.pk).update(trimmed_up_to=F("head"), read_up_to=F("head"))
    return int(Notification.objects.filter(stream_id=user.pk)._raw_delete(connection.alias))


def _user_table() -> Table:
    model = get_user_model()
    texts = [field.name for field in model._meta.concrete_fields if isinstance(field, TEXTS)]
    return Table(
        model=model._meta.label,
        title="account",
        rows="pk",
        personal=[name for name in texts if name != "password"],
        secret=["password"] if "password" in texts else [],
    )


declare(
    _user_table(),
    Table(
        model="notifications.Ticket",
        title="tickets",
        rows="user",
        secret=("digest", "key"),
        impersonal=("issuer",),
        forget=deleting("notifications.Ticket", "user"),
    ),
    # It has to outlast the user's sockets, which end by it, and goes after a day.
    Table(model="notifications.Revocation", impersonal=("user_id", "key")),
    Table(model="notifications.Stream", title="stream", rows="pk", impersonal=("uid",)),
    Table(
        model="notifications.Notification",
        title="notifications",
        rows="stream_id",
        personal=("frame",),
        impersonal=("kind",),
        forget=_forget_notifications,
    ),
)
declare(
    Table(model="notifications.ChannelMark", impersonal=("channel",)),
    Table(
        model="notifications.ChannelCursor",
        title="channels",
        rows="stream_id",
        personal=("refused",),
        impersonal=("channel", "attempting", "delivered"),
        forget=deleting("notifications.ChannelCursor", "stream_id"),
    ),
)
if apps.is_installed("knox"):
    declare(
        Table(
            model="knox.AuthToken",
            title="tokens",
            rows="user",
            secret=("digest", "token_key"),
            forget=deleting("knox.AuthToken", "user"),
        )
    )
if apps.is_installed("django.contrib.sessions"):
    declare(
        Table(
            model="sessions.Session",
            title="sessions",
            rows=_sessions,
            secret=("session_key", "session_data"),
            forget=lambda user: _sessions(user).delete()[0],
        )
    )
# Both are there in every project that has users.
declare(
    Table(model="auth.Permission", impersonal=("name", "codename")),
    Table(model="auth.Group", impersonal=("name",)),
    Table(model="contenttypes.ContentType", impersonal=("app_label", "model")),
)
