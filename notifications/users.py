"""The keys of users, whatever type the project's user model gives them: numbers, UUIDs, texts.

In Python a key has the model's own type. In hints, in revocations and in the hub's registry it is a text, the same in
every process and on every database. Whatever comes from raw SQL or from a caller goes through here first.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from django.contrib.auth import get_user_model
from django.db import connection

#: A primary key of the project's user model, in Python's type for it.
UserKey: TypeAlias = Any


def key(value: Any) -> UserKey:
    """A key from what a session, raw SQL or a caller holds; raises `ValidationError` for what can be no key."""
    return get_user_model()._meta.pk.to_python(value)


def text(value: Any) -> str:
    """The key as a text: `str` of its Python value, however it was written before."""
    return str(key(value))


def column(value: Any) -> Any:
    """The key as a parameter of raw SQL: SQLite, for one, keeps a UUID as 32 digits."""
    return get_user_model()._meta.pk.get_db_prep_value(key(value), connection)
