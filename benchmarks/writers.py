"""What changes orders while `delivery` measures: run by `manage.py shell`, in a process of its own.

Each change carries, as the order's carrier, when it was made (seconds, Unix): whoever receives it knows how old it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.db.models import QuerySet
from knox.models import AuthToken

from notifications.access.tickets import issue
from orders import services
from orders.bulk import Line, change_statuses
from orders.lifecycle import Status
from orders.models import Order
from orders.selectors import snapshot


def people(users: int) -> None:
    """Create so many buyers with an order each, and print a session key for each of them."""
    for number in range(users):
        buyer = services.create_order(number=f"B-{number}", customer=f"buyer{number}").customer
        session = SessionStore()
        session[SESSION_KEY] = str(buyer.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = buyer.get_session_auth_hash()
        session.set_expiry(timedelta(days=1))
        session.save()
        sys.stdout.write(f"{session.session_key}\n")


def one_by_one(rounds: int) -> None:
    """Change each order in turn, in a transaction of its own."""
    for _ in range(rounds):
        for order in list(_orders()):
            services.update_order(order=order, fields={"carrier": _now()})


def in_batches(rounds: int) -> None:
    """Change all orders in one transaction, once a second."""
    for number in range(rounds):
        with _a_second():
            to, now = (Status.PROCESSING, Status.ON_HOLD)[number % 2], _now()
            lines = [Line(number=order.number, to=to, fields={"carrier": now}) for order in _orders()]
            change_statuses(lines=lines, among=_orders())


def tutorial_one_by_one(rounds: int) -> None:
    """As `one_by_one`, and say so as a `post_save` receiver of the tutorial does."""
    for _ in range(rounds):
        for order in list(_orders()):
            changed = services.update_order(order=order, fields={"carrier": _now()}, notify=False).order
            async_to_sync(get_channel_layer().group_send)(*_message(changed))


def tutorial_in_batches(rounds: int) -> None:
    """As much as `in_batches` says, as fast as the layer takes it; the database is left alone."""
    orders = list(_orders())

    async def burst() -> None:
        for order in orders:
            order.carrier = _now()
            await get_channel_layer().group_send(*_message(order))

    for _ in range(rounds):
        with _a_second():
            async_to_sync(burst)()


def tickets() -> None:
    """Print a connection ticket for each buyer."""
    for order in _orders():
        sys.stdout.write(f"{issue(order.customer_id).ticket}\n")


def token() -> None:
    """Print an API token of somebody who may change every order."""
    clerk = get_user_model().objects.create_superuser("clerk")
    sys.stdout.write(AuthToken.objects.create(clerk, expiry=timedelta(days=1))[1])


def _orders() -> QuerySet[Order]:
    return Order.objects.select_related("customer").filter(number__startswith="B-").order_by("pk")


def _message(order: Order) -> tuple[str, dict[str, object]]:
    return f"tutorial.{order.customer_id}", {"type": "order.changed", "order": snapshot(order)}


@contextmanager
def _a_second() -> Iterator[None]:
    """What is done takes a second, or longer if it must."""
    began = time.monotonic()
    yield
    time.sleep(max(0.0, began + 1 - time.monotonic()))


def _now() -> str:
    return f"{time.time():.6f}"
