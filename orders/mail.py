"""What customers read by e-mail: one mail for each order, of what happened to it and how it is by now.

The engine decides when and to whom (`notifications.channels`). All kinds of `notify` are sent; what a customer writes
is none of them. The words are those of the pages; all go through gettext, so that a catalogue can come later.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext

from notifications.channels.channel import Delivery, News, register
from notifications.channels.mail import Letter, MailChannel
from notifications.users import UserKey
from orders import numbers
from orders.lifecycle import AWAITED, Status
from orders.models import Order
from orders.notify import Kind
from orders.pages import wording
from orders.selectors import snapshot
from orders.shapes import link_of

#: Lines of "What happened" in one mail: the newest.
LINES = 20


class OrderMails(MailChannel):
    """One mail for each order, however much happened to it."""

    def about(self, news: News) -> str | None:
        return str(news.frame["order"]["number"]) if news.kind in Kind.__members__.values() else None

    def compose(self, delivery: Delivery, *, unsubscribe_url: str) -> Letter:
        # No language is kept of a customer; it is the shop's.
        with translation.override(settings.LANGUAGE_CODE):
            context = _context(delivery) | {"unsubscribe_url": unsubscribe_url}
            return Letter(
                subject=gettext("Order %(number)s: %(headline)s") % context,
                text=render_to_string("orders/mail.txt", context),
                html=render_to_string("orders/mail.html", context),
            )


def _context(delivery: Delivery) -> dict[str, Any]:
    newest = dict(delivery.news[-1].frame)
    order = _by_now(delivery.user_id, newest)
    removed = newest["kind"] == Kind.ORDER_REMOVED
    words = wording.WORDS[Status(order["status"])]
    awaited = order["status"] in AWAITED and not removed
    expected = date.fromisoformat(order["estimated_delivery"]) if awaited and order["estimated_delivery"] else None
    return {
        "number": order["number"],
        "order": order,
        "headline": gettext(wording.headline(newest)),
        "removed": removed,
        "state": gettext(words.label),
        "sentence": gettext(words.sentence),
        "expected": expected,
        "tracking_url": link_of(order["tracking_url"]),
        "happened": [_told(news) for news in delivery.news[-LINES:]],
        "earlier": max(0, len(delivery.news) - LINES),
        "url": f"{settings.SITE_URL}{reverse('home')}orders/{numbers.in_path(order['number'])}",
        "language": translation.get_language(),
    }


def _by_now(user_id: UserKey, newest: dict[str, Any]) -> dict[str, Any]:
    """The order as it is, if it is still the customer's; otherwise as the news left it."""
    order: dict[str, Any] = newest["order"]
    if newest["kind"] == Kind.ORDER_REMOVED:
        return order
    found = Order.objects.select_related("customer").filter(number=order["number"], customer=user_id).first()
    return snapshot(found) if found else order


def _told(news: News) -> dict[str, Any]:
    """One line of what happened: when, what, and what was said about it."""
    frame: dict[str, Any] = dict(news.frame)
    return {
        "at": datetime.fromisoformat(frame["at"]),
        "headline": gettext(wording.headline(frame)),
        "note": frame.get("note", ""),
    }


register(OrderMails())
