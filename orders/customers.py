"""Customers' names: the one spelling in which each is kept, and which names are too alike to be two customers.

A name is the shop's own text. `orders.services` finds and makes customers by it, and every place that takes a name (the
API, commands, the admin's forms) asks `spelled` and `check_name` first. Case counts: `Alice` finds nobody who is called
`alice`. But both of them at once would be a mistake of the shop's, and whoever is shown the wrong orders pays for it.
So names that differ only by case or spelling have one *likeness*, and the database takes each likeness once.

`CustomerName` is kept by the signals of the user model, whoever saves a user and whichever model the project has.
Accounts that were alike before this table was there stay as they are, and are found by their exact names. What is
written past `save()` (`QuerySet.update`, `bulk_create`, raw SQL) has no likeness until the user is saved.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models.signals import post_save, pre_save

from orders.inserting import insert_rows
from orders.listed import listed

#: Characters of a name, as sent and as kept: what Django's `User` has.
MAX_NAME = 150
#: The zero-width joiners, which Persian and the scripts of India write words with. They make no other name.
JOINERS = "\u200c\u200d"
_WITHOUT_JOINERS = str.maketrans("", "", JOINERS)


class NameTaken(IntegrityError):
    """Another user has this name, or one that differs from it only by case or spelling."""

    def __init__(self, name: str, existing: str) -> None:
        self.existing = existing
        super().__init__(f"{name!r} and {existing!r}, a user that exists, differ only by case or spelling.")


def spelled(name: str) -> str:
    """The spelling in which a name is kept: NFKC, to which Django's log-in form brings what is typed, and trimmed.

    A name that is longer than any may be is given back as it is: normalising takes minutes for a megabyte of combining
    marks, and makes nothing shorter that is too long.
    """
    return name if len(name) > MAX_NAME else unicodedata.normalize("NFKC", name).strip()


def check_name(name: str) -> None:
    """Raises ValidationError for a name that nobody can have, whatever its spelling."""
    if len(name) > MAX_NAME:
        raise ValidationError(f"A name has at most {MAX_NAME} characters.", code="max_length")
    check_characters(name)


def check_characters(name: str) -> None:
    """The part of `check_name` that knows no length, for fields that have a bound of their own."""
    seen = name.translate(_WITHOUT_JOINERS)
    if not seen.strip() or name != name.strip():
        raise ValidationError("A name is not empty, and has no blanks around it.", code="invalid")
    if not seen.isprintable():
        raise ValidationError("A name has printable characters only.", code="invalid")


def likeness(name: str) -> str:
    """What names that differ only by case or spelling have in common: a digest, of one length for any name."""
    text = unicodedata.normalize("NFKC", name.translate(_WITHOUT_JOINERS)).strip()
    # Some letters change their form with their case, and only then become what they are alike to.
    text = unicodedata.normalize("NFKC", text.casefold())
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class CustomerName(models.Model):
    """One row for each user: the likeness that nobody else may have."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="+", editable=False
    )
    likeness = models.CharField(max_length=64, unique=True, editable=False)

    def __str__(self) -> str:
        return str(self.user)


def called(name: str) -> Any:
    """The user who has exactly this name; None if there is none."""
    users = get_user_model()
    return users._default_manager.filter(**{users.USERNAME_FIELD: name}).first()


def alike(name: str) -> Any:
    """The user whose name is the same but for case and spelling; None if there is none."""
    row = CustomerName.objects.select_related("user").filter(likeness=likeness(name)).first()
    if row is not None and likeness(row.user.get_username()) != row.likeness:
        # Renamed past `save()`: the name is free.
        row.delete()
        return None
    return row and row.user


def alike_to(names: Sequence[str]) -> dict[str, str]:
    """Those of these new names that are too alike to another, each with the name that it is alike to.

    Of several that are alike to each other the first one is taken.
    """
    found: dict[str, str] = {}
    mine: dict[str, str] = {}
    for name in names:
        first = mine.setdefault(likeness(name), name)
        if first != name:
            found[name] = first
    for kept in CustomerName.objects.filter(likeness__in=listed(mine)).values_list("likeness", flat=True):
        if (user := alike(mine[kept])) is not None:
            found[mine[kept]] = user.get_username()
            # Those that gave way to it within `names` are alike to the same user.
            found |= {name: user.get_username() for name, first in found.items() if first == mine[kept]}
    return found


def remember_names(users: Sequence[Any]) -> None:
    """`remember_name` for users who were made past `save()`. Raises IntegrityError for a likeness that is taken."""
    rows = [CustomerName(user=user, likeness=likeness(user.get_username())) for user in users]
    insert_rows(rows)


def refuse_taken(*, instance: Any, raw: bool = False, update_fields: Collection[str] | None = None, **_: Any) -> None:
    """Raise `NameTaken` before a user is saved under a name that is taken; a receiver of `pre_save`."""
    if raw or _leaves_name(instance, update_fields) or not _is_new(instance):
        return
    name = instance.get_username()
    existing = alike(name)
    if existing is not None and existing.pk != instance.pk:
        raise NameTaken(name, existing.get_username())


def remember_name(
    *,
    instance: Any,
    created: bool,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **_: Any,
) -> None:
    """Keep the likeness of a user who was saved; a receiver of `post_save`.

    Raises `NameTaken` if somebody else has taken the name since `refuse_taken` looked.
    """
    if _leaves_name(instance, update_fields):
        return
    row = CustomerName.objects.filter(user=instance.pk).first()
    mine = likeness(instance.get_username())
    if row is not None and row.likeness == mine:
        return
    try:
        with transaction.atomic():
            CustomerName.objects.update_or_create(user_id=instance.pk, defaults={"likeness": mine})
    except IntegrityError as error:
        existing = alike(instance.get_username())
        if existing is None:
            raise
        # Otherwise both are older than this table, or come of a dump that is. The other one has the row.
        if (created and not raw) or row is not None:
            raise NameTaken(instance.get_username(), existing.get_username()) from error


def _leaves_name(instance: Any, update_fields: Collection[str] | None) -> bool:
    return update_fields is not None and instance.USERNAME_FIELD not in update_fields


def _is_new(instance: Any) -> bool:
    """Whether the database knows the user by another name, or not at all."""
    name = instance.get_username()
    if instance._state.adding:
        return True
    if CustomerName.objects.filter(user=instance.pk, likeness=likeness(name)).exists():
        return False
    users = type(instance)._default_manager.filter(pk=instance.pk)
    return not users.filter(**{instance.USERNAME_FIELD: name}).exists()


pre_save.connect(refuse_taken, sender=settings.AUTH_USER_MODEL)
post_save.connect(remember_name, sender=settings.AUTH_USER_MODEL)
