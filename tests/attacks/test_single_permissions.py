"""Staff with one permission and no other: what it gives is written down here, and is all that it gives."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from knox.models import AuthToken

from orders import conversation, services
from orders.models import Order
from tests.api.client import Api

SECRET = "only-for-alice"

#: What each permission gives over the API, the pages and the admin. One that stands nowhere here gives none of it.
GIVES: dict[str, set[str]] = {
    # To talk with customers takes reply_to_order beside it; neither gives that alone.
    "view_order": {"reads orders over the API", "watches the board", "reads orders in the admin"},
    # To see them over the API takes view_order as well.
    "change_order": {"reads orders in the admin", "changes orders in the admin"},
    "add_order": {"creates orders over the API"},
    "view_statuschange": {"reads histories in the admin"},
    # Nobody changes a history; the admin lets those read who could.
    "change_statuschange": {"reads histories in the admin"},
    "issue_ticket": {"has tickets of customers"},
}


def everything(staff: User, alice: User, order: Order) -> set[str]:
    """What these staff manage to do, of all that could be tried."""
    api, desk = Api(staff), Client()
    desk.force_login(staff)
    every = list(Permission.objects.values_list("pk", flat=True))
    order_page = f"/admin/orders/order/{order.pk}/change/"
    history_page = f"/admin/orders/statuschange/{order.history.get().pk}/change/"
    password = {"password1": "a new passw0rd", "password2": "a new passw0rd", "usable_password": "true"}
    form = {"placed_at_0": "2026-03-01", "placed_at_1": "12:00:00", "items": "[]", "metadata": "{}", "carrier": "X"}
    form |= {"seen_version": "1", "history-TOTAL_FORMS": "0", "history-INITIAL_FORMS": "0"}
    rank = {"username": "staff", "is_active": "on", "is_superuser": "on", "user_permissions": every}
    rank |= {"date_joined_0": "2026-03-01", "date_joined_1": "12:00:00", "is_staff": "on"}
    found = set()

    def note(what: str, done: bool) -> None:
        if done:
            found.add(what)

    note("reads orders over the API", SECRET in api.get("orders/SO-1").content.decode())
    note("watches the board", desk.get("/board").status_code == 200)
    note("reads orders in the admin", SECRET in desk.get(order_page).content.decode())
    note("reads histories in the admin", "SO-1" in desk.get(history_page).content.decode())
    note("creates orders over the API", api.post("orders", {"number": "SO-9", "customer": "alice"}).status == 201)
    note("has tickets of customers", api.post("tickets", {"customer": "alice"}).status == 201)
    note("reads conversations", SECRET in api.get("orders/SO-1/messages").content.decode())
    note("writes to customers", api.post("orders/SO-1/messages", {"text": "Hello"}).status == 201)
    api.patch("orders/SO-1", {"status": "shipped"})
    note("changes orders over the API", Order.objects.get(pk=order.pk).version > 1)
    desk.post(order_page, form)
    note("changes orders in the admin", Order.objects.get(pk=order.pk).version > 1)
    desk.post("/admin/knox/authtoken/add/", {"user": alice.pk, "days": 1})
    note("has tokens of customers", AuthToken.objects.filter(user=alice).exists())
    desk.post(f"/admin/auth/user/{alice.pk}/password/", password)
    note("has passwords of customers", User.objects.get(pk=alice.pk).check_password("a new passw0rd"))
    desk.post("/admin/auth/group/add/", {"name": "all", "permissions": every})
    desk.post(f"/admin/auth/user/{staff.pk}/change/", rank)
    fresh = User.objects.get(pk=staff.pk)
    note("may do more", fresh.is_superuser or len(fresh.get_all_permissions()) > 1 or fresh.groups.exists())
    return found


def test_a_single_permission_gives_what_is_written_down_and_no_more(alice: User, staff: User, settings: Any):
    settings.WHITENOISE_AUTOREFRESH = True
    permissions = list(Permission.objects.exclude(content_type__app_label="contenttypes").order_by("pk"))
    assert GIVES.keys() <= {permission.codename for permission in permissions}
    given = {}
    for number, permission in enumerate([None, *permissions]):
        order = services.create_order(number="SO-1", customer="alice", carrier=SECRET, metadata={"note": SECRET})
        conversation.write(order=order, author=alice, text=SECRET)
        AuthToken.objects.all().delete()
        staff.user_permissions.set([permission] if permission else [])
        fresh = User.objects.get(pk=staff.pk)
        given[permission.codename if permission else f"none of {number}"] = everything(fresh, alice, order)
        order.delete()
        Order.objects.filter(number="SO-9").delete()
    assert {name: found for name, found in given.items() if found} == GIVES


@pytest.mark.parametrize("credential", ["token", "ticket"])
def test_what_one_permission_makes_gives_no_more_than_its_maker_has(
    alice: User, staff: User, bob: User, credential: str
):
    bob.user_permissions.add(Permission.objects.get(codename="view_order"))  # the shop's service account
    staff.user_permissions.set(Permission.objects.filter(codename__in=["add_authtoken", "issue_ticket"]))
    desk = Client()
    desk.force_login(staff)
    if credential == "token":
        desk.post("/admin/knox/authtoken/add/", {"user": bob.pk, "days": 1})
        assert not AuthToken.objects.filter(user=bob).exists()
    else:
        assert Api(staff).post("tickets", {"customer": "bob"}).status == 400
