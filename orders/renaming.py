"""Customers who get another name: their orders show it at once, as new versions.

`rename_customer` is for commands. The receivers below cover every other way that saves the user, as the admin does.
Sessions, tokens, tickets and sockets hang on the user's key and go on. What was told before is history and keeps the
name of that time; the customer is not told anew, since nothing has happened to an order.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F
from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver
from django.utils import timezone

from orders import customers
from orders.models import Order


@transaction.atomic
def rename_customer(*, name: str, to: str) -> Any:
    """Give the user named `name` the name `to`, in the spelling that is kept; returns the user.

    Raises the user model's DoesNotExist, ValidationError for what is no name, and `customers.NameTaken` if another
    user has the name, or one that is almost the same.
    """
    users = get_user_model()
    user = users._default_manager.select_for_update().get(**{users.USERNAME_FIELD: customers.spelled(name)})
    to = customers.spelled(to)
    customers.check_name(to)
    setattr(user, users.USERNAME_FIELD, to)
    user.save(update_fields=[users.USERNAME_FIELD])
    return user


@receiver(pre_save, sender=settings.AUTH_USER_MODEL)
def _about_to_be_saved(*, instance: Any, update_fields: Collection[str] | None = None, **_: Any) -> None:
    field = instance.USERNAME_FIELD
    instance._name_before = None
    # Every log-in saves last_login: that needs no query.
    if instance.pk is not None and (update_fields is None or field in update_fields):
        known = get_user_model()._default_manager.filter(pk=instance.pk)
        instance._name_before = known.values_list(field, flat=True).first()


@receiver(post_save, sender=settings.AUTH_USER_MODEL)
def _saved(*, instance: Any, raw: bool = False, **_: Any) -> None:
    """An order shows its customer's name, so that another name is another version of it, with another ETag."""
    if raw or instance._name_before in (None, instance.get_username()):
        return
    with transaction.atomic():
        theirs = Order.objects.filter(customer=instance.pk)
        # In the order of their keys, as `bulk` locks them: otherwise the two could wait for each other.
        list(theirs.select_for_update(no_key=True).order_by("pk").values_list("pk"))
        theirs.update(version=F("version") + 1, updated_at=timezone.now())
