"""The admin: the history is read, never written, and a status changes through the service or not at all."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.signals import pre_save
from django.test import Client
from django.urls import reverse

from orders import conversation, services
from orders.lifecycle import Status
from orders.models import Order, StatusChange
from tests.orders.conftest import make_order, newest_change

ORDERS = reverse("admin:orders_order_changelist")


@pytest.fixture
def desk(client: Client, staff: User, settings: Any) -> Client:
    """A browser of staff who may do all that permissions allow."""
    settings.WHITENOISE_AUTOREFRESH = True  # else it warns of static files that nobody has collected
    client.force_login(staff)
    return client


def act(desk: Client, action: str, *orders: Order) -> str:
    """Choose an action for those orders; the page that follows."""
    answer = desk.post(ORDERS, {"action": action, "_selected_action": [order.pk for order in orders]}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_an_action_moves_orders_through_the_service(desk: Client, staff: User, order: Order):
    assert "1 moved to shipped" in act(desk, "set_shipped", order)
    change = newest_change(order)
    assert (change.from_status, change.to_status, change.actor) == ("pending", "shipped", staff)


def test_an_action_asks_the_lifecycle_for_each_order(desk: Client, staff: User, order: Order):
    staff.user_permissions.remove(*staff.user_permissions.filter(codename="override_status"))
    other = make_order("SO-2")
    services.change_status(order=other, to="cancelled")
    page = act(desk, "set_shipped", order, other)
    assert "1 moved to shipped" in page
    assert "SO-2: An order that is cancelled cannot become shipped." in page


def test_an_override_needs_the_note_that_an_action_has_no_place_for(desk: Client, order: Order):
    services.change_status(order=order, to="cancelled")
    assert "needs a note" in act(desk, "set_shipped", order)
    assert Order.objects.get().status == "cancelled"


def test_there_is_an_action_for_each_status_and_none_that_deletes(desk: Client, order: Order):
    choices = desk.get(ORDERS).context["action_form"].fields["action"].choices
    assert {name for name, _ in choices} - {""} == {f"set_{status}" for status in Status.values}


def test_an_action_is_for_who_may_change_orders(desk: Client, staff: User, order: Order):
    staff.user_permissions.remove(*staff.user_permissions.filter(codename="change_order"))
    act(desk, "set_shipped", order)
    assert Order.objects.get().status == "pending"


def opened_form(desk: Client, order: Order) -> dict[str, Any]:
    """What the order's form would send if nothing in it were touched."""
    form = desk.get(reverse("admin:orders_order_change", args=[order.pk])).context["adminform"].form
    assert not {"status", "number", "customer", "version", "status_since"} & form.fields.keys()
    fields = {name: form[name].value() for name in form.fields}
    return {
        **{name: "" if value is None else value for name, value in fields.items()},
        "placed_at_0": f"{order.placed_at:%Y-%m-%d}",
        "placed_at_1": f"{order.placed_at:%H:%M:%S}",
        "items": "[]",
        "metadata": "{}",
        "history-TOTAL_FORMS": 0,
        "history-INITIAL_FORMS": 0,
    }


def test_the_form_changes_other_fields_and_never_the_status(desk: Client, order: Order):
    data = {**opened_form(desk, order), "carrier": "DHL", "status": "shipped", "number": "SO-9"}
    answer = desk.post(reverse("admin:orders_order_change", args=[order.pk]), data)
    assert answer.status_code == 302, answer.context["adminform"].errors
    fresh = Order.objects.get()
    assert (fresh.carrier, fresh.status, fresh.number) == ("DHL", "pending", "SO-1")


def test_an_order_is_given_to_another_customer_who_has_to_exist(desk: Client, order: Order, bob: User):
    url = reverse("admin:orders_order_change", args=[order.pk])
    data = {**opened_form(desk, order), "carrier": "DHL"}
    assert "There is no such user" in desk.post(url, {**data, "give_to": "carol"}).content.decode()
    assert desk.post(url, {**data, "give_to": "bob"}).status_code == 302
    fresh = Order.objects.get()
    assert (fresh.customer, fresh.carrier) == (bob, "DHL")


def test_a_form_that_was_open_while_the_order_changed_overwrites_nothing(desk: Client, order: Order):
    data = opened_form(desk, order)
    services.update_order(order=order, fields={"carrier": "GLS"})
    answer = desk.post(reverse("admin:orders_order_change", args=[order.pk]), {**data, "tracking_number": "1Z"})
    assert "has changed since this form was opened" in answer.content.decode()
    fresh = Order.objects.get()
    assert (fresh.carrier, fresh.tracking_number) == ("GLS", "")


def test_a_change_in_the_moment_of_saving_is_said_and_not_overwritten(desk: Client, order: Order):
    data = {**opened_form(desk, order), "tracking_number": "1Z"}

    def overtake(instance: Order, **_: Any) -> None:
        pre_save.disconnect(overtake, sender=Order)
        services.update_order(order=instance, fields={"carrier": "GLS"})

    pre_save.connect(overtake, sender=Order)
    answer = desk.post(reverse("admin:orders_order_change", args=[order.pk]), data, follow=True)
    assert "load it again" in answer.content.decode()
    assert Order.objects.get().tracking_number == ""


@pytest.mark.parametrize("page", ["add", "change", "delete"])
def test_the_history_can_only_be_read(page: str, desk: Client, order: Order):
    change = StatusChange.objects.get()
    arguments = [] if page == "add" else [change.pk]
    url = reverse(f"admin:orders_statuschange_{page}", args=arguments)
    assert desk.post(url, {"note": "never happened", "post": "yes"}).status_code == 403
    assert StatusChange.objects.get().note == ""


def test_the_history_is_shown(desk: Client, order: Order):
    services.change_status(order=order, to="shipped", note="On its way")
    for url in (
        reverse("admin:orders_statuschange_changelist"),
        reverse("admin:orders_statuschange_change", args=[newest_change(order).pk]),
        reverse("admin:orders_order_change", args=[order.pk]),
    ):
        answer = desk.get(url)
        assert answer.status_code == 200
        assert "shipped" in answer.content.decode().lower()


def test_an_order_is_never_deleted_here(desk: Client, order: Order):
    assert desk.post(reverse("admin:orders_order_delete", args=[order.pk]), {"post": "yes"}).status_code == 403


def test_an_order_can_be_added_and_its_history_names_who_did(desk: Client, staff: User, alice: User):
    data = {
        "number": "SO-1",
        "customer": alice.pk,
        "status": "pending",
        "placed_at_0": "2026-03-01",
        "placed_at_1": "12:00:00",
        "items": "[]",
        "metadata": "{}",
        "history-TOTAL_FORMS": 0,
        "history-INITIAL_FORMS": 0,
    }
    answer = desk.post(reverse("admin:orders_order_add"), data)
    assert answer.status_code == 302, answer.context["adminform"].errors
    assert [(change.to_status, change.actor) for change in Order.objects.get().history.all()] == [("pending", staff)]


def test_orders_that_wait_for_an_answer_can_be_listed(desk: Client, alice: User, order: Order):
    make_order("SO-2")
    conversation.write(order=order, author=alice, text="Where is it?")
    listed = desk.get(ORDERS, {"waiting": "true"}).content.decode()
    assert "SO-1" in listed
    assert "SO-2" not in listed
