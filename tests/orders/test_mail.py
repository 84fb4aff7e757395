"""News of orders that were not seen arrive by e-mail, at a real SMTP server, and one click ends them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from notifications import tasks
from notifications.channels.models import ChannelCursor, ChannelMark
from notifications.log import stream
from orders import conversation, services
from orders.models import Order
from orders.notify import Kind
from tests.notifications.channels.conftest import deliver_later
from tests.orders.conftest import make_order
from tests.smtp import Mailbox, smtp_server

pytestmark = pytest.mark.django_db(transaction=True)

SITE = "https://orders.shop.example"


@pytest.fixture
def box(settings: Any) -> Iterator[Mailbox]:
    """The shop's server for mail; the channel is on and has looked once."""
    settings.EMAIL_AFTER_MINUTES = 15
    settings.SITE_URL = SITE
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_TIMEOUT = 10
    settings.DEFAULT_FROM_EMAIL = "The Shop <orders@shop.example>"
    with smtp_server() as box:
        settings.EMAIL_HOST, settings.EMAIL_PORT = box.host, box.port
        tasks.deliver()
        yield box


@pytest.fixture
def reader(alice: User) -> User:
    """alice, with an address."""
    alice.email = "alice@wonderland.example"
    alice.save()
    return alice


def parts(mail: EmailMessage) -> tuple[str, str]:
    """The plain text and the HTML."""
    text, html = mail.get_body(["plain"]), mail.get_body(["html"])
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


def address_to_say_no(mail: EmailMessage) -> str:
    """The path of the address that the mail names."""
    url = str(mail["List-Unsubscribe"]).strip(" <>")
    assert url.startswith(SITE)
    return urlsplit(url).path


def test_what_was_not_seen_is_one_mail_for_each_order_with_its_state_and_what_happened(box: Mailbox, reader: User):
    order = make_order("SO/1 ü")
    make_order("SO-2")
    services.change_status(order=order, to="processing", note="<b>Cups</b> & saucers")
    services.update_order(
        order=order,
        to="shipped",
        fields={"carrier": "DHL", "tracking_number": "0034", "tracking_url": "https://dhl.example/0034"},
    )
    assert deliver_later() == 2
    assert box.subjects == ["Order SO/1 ü: On its way", "Order SO-2: Order placed"]
    mail = box.mails[0]
    assert (mail["To"], mail["From"]) == ("alice@wonderland.example", "The Shop <orders@shop.example>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@shop.example>")
    text, html = parts(mail)
    for said in ("The carrier has your parcel.", "DHL", "0034", "https://dhl.example/0034", "Order placed"):
        assert said in text
        assert said in html
    assert f"{SITE}/orders/SO/1%20%C3%BC" in text.replace("%2F", "/")
    assert "Being prepared: <b>Cups</b> & saucers" in text
    assert "&lt;b&gt;Cups&lt;/b&gt; &amp; saucers" in html
    assert deliver_later() == 0


def test_what_was_seen_is_not_sent(box: Mailbox, reader: User):
    make_order()
    stream.mark_read(reader.pk, 1)
    assert deliver_later() == 0
    assert not box.mails


def test_off_unless_a_shop_wants_it(box: Mailbox, reader: User, settings: Any):
    settings.EMAIL_AFTER_MINUTES = 0
    make_order()
    assert deliver_later() == 0
    assert not box.mails


def test_every_kind_of_news_has_a_mail_and_what_the_customer_wrote_has_none(box: Mailbox, reader: User, staff: User):
    orders = {kind: make_order(f"SO-{kind.value}") for kind in Kind}
    stream.mark_read(reader.pk, len(orders))
    conversation.write(order=orders[Kind.ORDER_CREATED], author=reader, text="Where is it?")
    conversation.write(order=orders[Kind.ORDER_MESSAGE], author=staff, text="In the van. ")
    services.change_status(order=orders[Kind.ORDER_STATUS_CHANGED], to="delivered")
    services.update_order(order=orders[Kind.ORDER_UPDATED], fields={"carrier": "DHL"})
    services.delete_order(order=orders[Kind.ORDER_REMOVED])
    Order.objects.filter(number="SO-order.delayed").update(estimated_delivery=timezone.localdate() - timedelta(days=1))
    from orders import delays

    delays.announce_delays()
    deliver_later()
    assert sorted(box.subjects) == [
        "Order SO-order.delayed: Later than planned",
        "Order SO-order.message: New message",
        "Order SO-order.removed: Order removed",
        "Order SO-order.status_changed: Delivered",
        "Order SO-order.updated: Details changed",
    ]
    by_subject = {subject: parts(mail) for subject, mail in zip(box.subjects, box.mails, strict=True)}
    for body in by_subject["Order SO-order.message: New message"]:
        assert "New message" in body
        assert "In the van." in body
    for body in by_subject["Order SO-order.removed: Order removed"]:
        assert "no longer among yours" in body
        assert f"{SITE}/orders/" not in body


def test_a_mail_says_how_the_order_is_when_it_is_sent(box: Mailbox, reader: User):
    order = make_order()
    Order.objects.filter(pk=order.pk).update(carrier="Owl Post")
    deliver_later()
    text, _ = parts(box.mails[0])
    assert "Owl Post" in text


def test_of_very_much_only_the_newest_is_told(box: Mailbox, reader: User, staff: User):
    order = make_order()
    for number in range(30):
        conversation.write(order=order, author=staff, text=f"note {number}")
    deliver_later()
    text, _ = parts(box.mails[0])
    assert "note 29" in text
    assert "note 10" in text
    assert "note 9" not in text
    assert "and 11 more before that" in text


@pytest.mark.parametrize("change", [{"email": ""}, {"is_active": False}])
def test_without_an_address_or_an_account_nothing_is_sent(box: Mailbox, reader: User, change: dict[str, Any]):
    make_order()
    User.objects.filter(pk=reader.pk).update(**change)
    assert deliver_later() == 0


# What the server says.


@pytest.mark.parametrize("answer", ["550 5.1.1 Nobody here", "550 nobody here", "553 no such name", "550 5.2.1 closed"])
def test_an_address_that_does_not_exist_is_kept_and_not_tried_again(box: Mailbox, reader: User, answer: str):
    box.to_address[reader.email] = answer
    make_order()
    make_order("SO-2")
    deliver_later()
    assert ChannelCursor.objects.get().refused == reader.email
    assert ChannelCursor.objects.get().due_at is None
    box.to_address.clear()
    make_order("SO-3")
    assert deliver_later() == 0


@pytest.mark.parametrize("answer", ["450 4.2.1 Later", "554 5.7.1 Relay access denied", "550 5.1.8 Bad sender"])
def test_what_is_not_about_the_address_is_tried_again(box: Mailbox, reader: User, answer: str):
    box.to_address[reader.email] = answer
    make_order()
    assert deliver_later() == 0
    box.to_address.clear()
    assert deliver_later() == 1


def test_a_mail_that_is_not_taken_now_is_sent_later_and_the_others_once(box: Mailbox, reader: User):
    make_order()
    make_order("SO-2")
    box.to_data = ["451 4.3.0 Later"]
    assert deliver_later() == 0
    assert deliver_later() == 2
    assert box.subjects == ["Order SO-1: Order placed", "Order SO-2: Order placed"]


def test_a_server_that_is_away_loses_nothing(box: Mailbox, reader: User, settings: Any, caplog: Any):
    settings.EMAIL_PORT = 1  # nobody listens there
    make_order()
    deliver_later()
    deliver_later()
    assert ChannelMark.objects.get().failures == 2
    assert "nothing can be delivered" in caplog.text
    assert reader.email not in caplog.text
    settings.EMAIL_PORT = box.port
    assert deliver_later() == 1


# One click.


def test_one_click_of_a_mail_program_ends_them_without_a_log_in(box: Mailbox, reader: User):
    make_order()
    deliver_later()
    mail = box.mails[0]
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    path = address_to_say_no(mail)
    program = Client(enforce_csrf_checks=True)
    assert program.post(path, {"List-Unsubscribe": "One-Click"}).status_code == 200
    make_order("SO-2")
    assert deliver_later() == 0
    assert program.post(path, {"again": "1"}).status_code == 200
    make_order("SO-3")
    assert deliver_later() == 1
    assert "Order SO-2: Order placed" not in box.subjects


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_what_follows_links_ends_nothing(box: Mailbox, reader: User, client: Client, method: str):
    make_order()
    deliver_later()
    path = address_to_say_no(box.mails[0])
    answer = getattr(client, method)(path)
    assert answer.status_code == (405 if method == "options" else 200)
    if method == "get":
        assert b'<form method="post">' in answer.content
    make_order("SO-2")
    assert deliver_later() == 1


def test_the_address_outlives_the_key_that_signed_it(box: Mailbox, reader: User, client: Client, settings: Any):
    make_order()
    deliver_later()
    path = address_to_say_no(box.mails[0])
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 10, [settings.SECRET_KEY]
    assert client.post(path).status_code == 200
    assert ChannelCursor.objects.filter(off_at__isnull=False).exists()
    settings.SECRET_KEY_FALLBACKS = []
    assert client.post(path).status_code == 404


@pytest.mark.parametrize("token", ["nonsense", "a:b:c", "x" * 5_000, '["email","1"]'])
def test_nobody_else_can_say_no_for_a_customer(box: Mailbox, reader: User, client: Client, token: str):
    assert client.post(f"/unsubscribe/{token}").status_code == 404
    assert not ChannelCursor.objects.exists()


def test_an_address_of_somebody_who_is_gone_says_nothing_of_it(box: Mailbox, reader: User, client: Client):
    order = make_order()
    deliver_later()
    path = address_to_say_no(box.mails[0])
    services.delete_order(order=order)
    reader.delete()
    assert client.post(path).status_code == 200


def test_the_plain_text_is_written_as_text(box: Mailbox, reader: User):
    """Words of the shop reach it as they are, and no header can be made of them."""
    order = make_order("SO-1&2")
    services.change_status(order=order, to="shipped", note="one\r\nBcc: bob@example.org")
    deliver_later()
    [mail] = box.mails
    assert mail["Bcc"] is None
    assert "SO-1&2" in parts(mail)[0]
    assert json.dumps(box.subjects) == '["Order SO-1&2: On its way"]'
