"""Customers of many new orders: `services.customer_named` for all of them, in a handful of statements."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX, UNUSABLE_PASSWORD_SUFFIX_LENGTH
from django.contrib.auth.models import User
from django.db import IntegrityError

from orders import customers
from orders.inserting import insert_rows
from orders.listed import listed
from orders.services import CustomerExists
from orders.signals import customers_created


def customers_named(names: Iterable[str]) -> dict[str, Any]:
    """The user of each name, who is created, without a password, if unknown; or the `CustomerExists` that refuses it.

    Of several unknown names that are alike the first one is a customer's.

    Raises ValidationError for what is no name, and IntegrityError if another transaction has made one of them at the
    same moment. Django's own signals of users are not sent for those that are made; `customers_created` is.
    """
    users = get_user_model()
    field = users.USERNAME_FIELD
    spelled = {name: customers.spelled(name) for name in names}
    found: dict[str, Any] = {}
    for user in users._default_manager.filter(**{f"{field}__in": listed(spelled.values())}):
        found[user.get_username()] = user
    unknown = [name for name in dict.fromkeys(spelled.values()) if name not in found]
    for name in unknown:
        customers.check_name(name)
    alike = customers.alike_to(unknown)
    if any(name == existing for name, existing in alike.items()):
        raise IntegrityError("A customer of that name has been made since it was looked for.")
    found |= {name: CustomerExists(name, existing=existing) for name, existing in alike.items()}
    # By name: two transactions that make the same customers do so in the same order.
    new = [users(**{field: name, "password": _unusable()}) for name in sorted(set(unknown) - alike.keys())]
    if new:
        if users is User:
            insert_rows(new)
        else:  # a model of a shop's own may have fields of any kind
            users._default_manager.bulk_create(new)
        customers.remember_names(new)
        found |= {user.get_username(): user for user in new}
        customers_created.send(sender=users, users=new)
    return {name: found[spelling] for name, spelling in spelled.items()}


def _unusable() -> str:
    """As `make_password(None)`, which draws each character by itself and takes longer than the rest of a customer."""
    return (
        UNUSABLE_PASSWORD_PREFIX
        + secrets.token_urlsafe(UNUSABLE_PASSWORD_SUFFIX_LENGTH)[:UNUSABLE_PASSWORD_SUFFIX_LENGTH]
    )
