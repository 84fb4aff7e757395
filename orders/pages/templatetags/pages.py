"""Template words of the pages: `{% load orderwire %}`. Formats values; asks no database."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orders import numbers
from orders.lifecycle import Status
from orders.messages import Message, Side
from orders.models import Order
from orders.money import written
from orders.pages import wording
from orders.selectors import rfc3339
from orders.shapes import lines_of, link_of

register = template.Library()


@register.filter
def words(status: str) -> wording.Words:
    """The status's words: `{% with words=order.status|words %}{{ words.label }}`."""
    return wording.WORDS[Status(status)]


@register.filter
def headline(told: dict[str, Any]) -> str:
    """What a notification says, in a few words. The pages' script has the same in `words.js`."""
    return wording.headline(told)


@register.filter
def ahead(status: str) -> list[wording.Words]:
    """The steps that usually follow."""
    return wording.ahead(status)


@register.filter
def in_path(number: str) -> str:
    """An order's number as it stands in an address; the pages' script writes the same."""
    return numbers.in_path(number)


@register.filter
def lines(order: Order) -> list[dict[str, Any]]:
    """What is in an order, as far as it can be shown."""
    return lines_of(order.items)


@register.filter
def item_line(order: Order) -> str:
    """`2 × Assam tea · Teapot`: what is in an order, in one line."""
    return " · ".join(
        line["name"] if line["quantity"] == 1 else f"{quantity(line['quantity'])} × {line['name']}"
        for line in lines(order)
    )


@register.filter
def quantity(value: int | float) -> str:  # noqa: PYI041 -- they are written differently
    """`2`, `0.5`, `1.25`: how many, without zeros that say nothing."""
    return f"{Decimal(repr(value)).normalize():f}" if isinstance(value, float) else str(value)


@register.filter
def total(order: Order) -> str:
    """`41.80`, or nothing."""
    return "" if order.total is None else written(order.total, order.currency)


@register.filter
def link(order: Order) -> str:
    """Where to track the parcel; nothing that is no address of the web."""
    return link_of(order.tracking_url)


@register.filter
def author(message: Message | None, reader: str) -> str:
    """Who wrote a message, as the reader's side calls them; customers are not told who of the staff did."""
    if message is None:
        return ""
    if reader == Side.CUSTOMER:
        return "You" if message.side == Side.CUSTOMER else "The shop"
    return message.author.get_username() if message.author else str(Side(message.side).label)


@register.simple_tag
def moment(at: datetime, slot: str = "") -> SafeString:
    """A `<time>` in UTC, and labelled so; the pages' script puts it into the reader's own zone and language."""
    return format_html(
        '<time data-moment data-slot="{}" datetime="{}">{} UTC</time>',
        slot,
        rfc3339(at),
        f"{at.astimezone(UTC):%-d %B %Y, %H:%M}",
    )


@register.simple_tag
def expected(day: date | None, status: str) -> str:
    """`expected 21 November 2026`, as long as there is something to expect.

    The server does not know which day it is for the reader; the script turns it into `arriving today`.
    """
    on_the_way = wording.WORDS[Status(status)].tone in ("calm", "active")
    return f"expected {day:%-d %B %Y}" if day and on_the_way else ""
