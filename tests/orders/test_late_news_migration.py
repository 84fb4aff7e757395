"""Orders that were there before late news found their place: the migration tells each when its newest happened."""

from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from orders import services
from orders.models import Order
from tests.orders.conftest import make_order

migration = import_module("orders.migrations.0007_late_news_of_existing_orders")


def test_each_order_learns_when_the_newest_of_its_history_happened(db: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migration, "AT_ONCE", 2)
    newest = timezone.now() - timedelta(minutes=5)
    for n in range(5):
        order = make_order(f"SO-{n}")
        services.change_status(order=order, to="shipped", occurred_at=newest - timedelta(minutes=n))
        services.change_status(order=order, to="shipped", occurred_at=newest)
    known = newest + timedelta(minutes=1)
    Order.objects.update(news_at=None)
    Order.objects.filter(number="SO-3").update(news_at=known)
    for _ in range(2):  # it may be run again
        migration.fill(apps, SimpleNamespace(connection=connection))
        assert {order.number: order.news_at for order in Order.objects.all()} == {
            **{f"SO-{n}": newest for n in range(5)},
            "SO-3": known,
        }
