"""`manage.py demo`: customers alice and bob, staff, some orders, and a line to try. `make run` calls it."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone
from knox.models import AuthToken

from orders import services
from orders.models import Order

PASSWORD = "demo"  # noqa: S105 -- printed for everybody to see, and refused outside DEBUG

#: number, customer, days ago, the way it has come, what is in it
ORDERS: list[tuple[str, str, int, list[str], list[tuple[str, str, int]], str]] = [
    (
        "SO-1001",
        "alice",
        1,
        ["processing"],
        [("TEA-01", "Assam tea, 250 g", 2), ("POT-03", "Teapot, glass", 1)],
        "41.80",
    ),
    (
        "SO-1002",
        "alice",
        3,
        ["processing", "shipped", "out_for_delivery"],
        [("LMP-11", "Desk lamp", 1)],
        "64.00",
    ),
    (
        "SO-1003",
        "alice",
        9,
        ["processing", "shipped", "delivered"],
        [("BK-204", "Notebook, dotted", 3)],
        "27.00",
    ),
    ("SO-1004", "bob", 2, ["processing", "shipped"], [("CUP-07", "Espresso cup", 4)], "38.40"),
    ("SO-1005", "bob", 0, [], [("MAT-02", "Yoga mat", 1)], "29.90"),
]


class Command(BaseCommand):
    help = "Load demo customers, staff and orders, and print the log-ins, a token and a line to try."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--force", action="store_true", help="even where DEBUG is off: the passwords are public")

    def handle(self, *args: Any, force: bool, **options: Any) -> None:
        if not settings.DEBUG and not force:
            raise CommandError("The demo's passwords are public; with DEBUG off it needs --force.")
        with transaction.atomic():
            staff = self._people()
            for number, customer, days, way, items, total in ORDERS:
                self._order(number, customer, days, way, items, total, actor=staff)
            AuthToken.objects.filter(user=staff).delete()
            _, token = AuthToken.objects.create(staff, expiry=timedelta(days=1))
        self._explain(token)

    def _people(self) -> Any:
        users = get_user_model()
        for name in ("alice", "bob", "staff"):
            user, _ = users.objects.get_or_create(username=name)
            user.set_password(PASSWORD)
            user.is_staff = name == "staff"
            user.save()
        user.user_permissions.set(
            Permission.objects.filter(
                codename__in=[
                    "view_order",
                    "add_order",
                    "change_order",
                    "delete_order",
                    "reply_to_order",
                    "view_statuschange",
                    "issue_ticket",
                ]
            )
        )
        return user

    def _order(
        self,
        number: str,
        customer: str,
        days: int,
        way: list[str],
        items: list[tuple[str, str, int]],
        total: str,
        *,
        actor: Any,
    ) -> None:
        """One order, brought back to where the demo begins if somebody has moved it."""
        here = Order.objects.filter(number=number)
        if here.filter(status=(way or ["pending"])[-1]).exists():
            return
        here.delete()
        placed_at = timezone.now() - timedelta(days=days, hours=5)
        order = services.create_order(
            number=number,
            customer=customer,
            actor=actor,
            placed_at=placed_at,
            items=[{"sku": sku, "name": name, "quantity": quantity} for sku, name, quantity in items],
            currency="EUR",
            total=total,
            estimated_delivery=timezone.localdate() + timedelta(days=3 - days),
        )
        for step, status in enumerate(way, start=1):
            shipped = {"carrier": "DHL", "tracking_number": f"00340434{number[-4:]}"} if status == "shipped" else {}
            services.update_order(
                order=order,
                to=status,
                fields=shipped,
                actor=actor,
                occurred_at=placed_at + timedelta(hours=20 * step * max(days, 1) / 5),
            )

    def _explain(self, token: str) -> None:
        url = f"http://localhost:{os.environ.get('PORT', '8000')}"
        self.stdout.write(
            f"""
  Orderwire   {url}
  Log in as   alice, bob (customers) or staff, password {PASSWORD}
  API token   {token}

  Log in as alice, keep the page open, and run:

  curl -X PATCH {url}/api/v1/orders/SO-1001 \\
    -H "Authorization: Bearer {token}" \\
    -H "Content-Type: application/json" \\
    -d '{{"status": "shipped"}}'
"""
        )
