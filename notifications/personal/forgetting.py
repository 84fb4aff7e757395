"""Forgetting a user: the person goes, and rows that others need stay without the person's name.

The user's row stays too, since rows refer to it that have to be kept: under a name that says nothing, without a
password and not active. All of the user's sockets end at once, as with any user who is deactivated
(`access.revocation`). What is removed elsewhere is the business of the tables (`tables`).
"""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

from notifications.personal.tables import TEXTS, User, declared

#: How the names of users who were forgotten begin.
FORGOTTEN = "forgotten-"


def forget(user: User, *, dry_run: bool = False) -> dict[str, int]:
    """Forget the user, or only try; gives for each table, by its label, the number of rows that are deleted or changed.

    One transaction: a process that dies leaves everything as it was.
    """
    with transaction.atomic():
        # The whole row: whoever is just adding rows that refer to the user is waited for, and their rows are seen.
        kept = get_user_model()._default_manager.select_for_update().get(pk=user.pk)
        counts = _forget_rows(user)
        _make_nobody(kept)
        counts[get_user_model()._meta.label] = 1
        transaction.set_rollback(dry_run)
    if not dry_run:
        # What somebody wrote meanwhile, who had read the user's rows before.
        with transaction.atomic():
            _forget_rows(user)
    return {label: count for label, count in counts.items() if count}


def _forget_rows(user: User) -> dict[str, int]:
    return {table.model: table.forget(user) for table in reversed(declared()) if table.forget}


def _make_nobody(user: Any) -> None:
    """Every text of the row goes; those that have to be one of a kind become a random one."""
    nobody = f"{FORGOTTEN}{secrets.token_hex(8)}"
    for field in user._meta.concrete_fields:
        if not isinstance(field, TEXTS) or field.primary_key:
            continue
        if field.unique:
            setattr(user, field.attname, nobody)
        else:
            setattr(user, field.attname, None if field.null else field.get_default() if field.has_default() else "")
    user.set_unusable_password()
    user.is_active = False
    if hasattr(user, "last_login"):
        user.last_login = None
    for rights in ("groups", "user_permissions"):
        if hasattr(user, rights):
            getattr(user, rights).clear()
    user.save()
