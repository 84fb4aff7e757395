"""What the API's table keeps of people, and the admin's log; see `notifications.personal.tables`."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q, QuerySet

from api.models import IdempotencyKey
from notifications.personal.tables import Table, User, declare


def _forget_answers(user: User) -> int:
    """The user's own, and those to the shop's systems in which the user is named; a day later all of them are gone.

    A request that is sent again after that is carried out again, or refused by the rule that it breaks then.
    """
    name = json.dumps(user.get_username(), ensure_ascii=False)
    named = Q(body__contains=f'"customer":{name}') | Q(body__contains=f'"user":{name}')
    return IdempotencyKey.objects.filter(Q(user=user) | named).delete()[0]


def _log_of(user: User) -> QuerySet[Any]:
    """Entries that tell what was done to the user, or to a token of the user's, whose text has the name at its end."""
    about = Q(object_id=str(user.pk), content_type=ContentType.objects.get_for_model(get_user_model()))
    return LogEntry.objects.filter(about | Q(object_repr__endswith=f" : {user.get_username()}"))


declare(
    # It goes with its token.
    Table(model="api.TokenName", title="token_names", rows="token__user", personal=("name",), secret=("token",)),
    Table(
        model="api.IdempotencyKey",
        title="answers",
        rows="user",
        personal=("key", "headers", "body"),
        secret=("fingerprint",),
        forget=_forget_answers,
    ),
    # What staff did stays on record; whom they did it to does not.
    Table(
        model="admin.LogEntry",
        title="admin_log",
        rows=_log_of,
        # With a token's digest in them, where the entry is about one.
        secret=("object_id", "object_repr"),
        impersonal=("change_message",),
        forget=lambda user: _log_of(user).exclude(object_repr="").update(object_repr=""),
    ),
)
