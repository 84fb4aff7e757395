"""Raw SQL sends no signal: `manage.py reconcile` records afterwards what it did."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection

from notifications.models import Notification
from orders import services
from orders.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


def raw_sql(number: str, status: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {Order._meta.db_table} SET status = %s WHERE number = %s", [status, number])


def test_a_status_that_raw_sql_has_changed_is_recorded_and_announced_once(capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("SO-1", "SO-2"):
        services.create_order(number=number, customer="alice")
    raw_sql("SO-1", "shipped")
    call_command("reconcile")
    assert capsys.readouterr().out.split() == ["SO-1"]
    order = Order.objects.get(number="SO-1")
    last = order.history.last()
    assert last is not None
    assert (last.from_status, last.to_status, order.version) == ("pending", "shipped", 2)
    assert Notification.objects.filter(kind="order.status_changed").count() == 1
    call_command("reconcile")
    assert capsys.readouterr().out == ""
    assert order.history.count() == 2
