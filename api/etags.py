"""An order's ETag is its version in quotes: a GET can be spared by it, and a PATCH be guarded."""

from __future__ import annotations

import re

from django.utils.http import parse_etags
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from orders.models import Order
from orders.services import VersionMismatch

#: The tags that `of` gives, as far as the column counts.
VERSION = re.compile(r'"([1-9][0-9]{0,18})"')
#: A list of entity tags (RFC 9110, 8.8.3). Read without this, what has no quotes would be left out in silence.
TAGS = re.compile(r'(?:W/)?"[^"]*"(?:[ \t]*,[ \t]*(?:W/)?"[^"]*")*')


def of(order: Order) -> str:
    """A strong entity tag (RFC 9110, 8.8.3)."""
    return of_version(order.version)


def of_version(version: int) -> str:
    """The tag of an order at that version."""
    return f'"{version}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` says that the caller has this one already (RFC 9110, 13.1.2: compared weakly)."""
    known = parse_etags(request.headers.get("If-None-Match", ""))
    return known == ["*"] or tag in [one.removeprefix("W/") for one in known]


def required(request: Request) -> list[str] | None:
    """The tags of `If-Match`; None without the header, or for `*`: whichever the order's is.

    Raises `ValidationError` for what is no list of tags.
    """
    if "If-Match" not in request.headers:
        return None
    header = request.headers["If-Match"].strip()
    if header == "*":
        return None
    if not TAGS.fullmatch(header):
        message = 'Send the ETag as it was given, in its quotes: If-Match: "2".'
        raise ValidationError({"If-Match": [message]}, code="invalid")
    return parse_etags(header)


def only_new(request: Request) -> bool:
    """Whether `If-None-Match: *` says that there must be no order yet. Raises `ValidationError` for other tags."""
    header = request.headers.get("If-None-Match", "*").strip()
    if header != "*":
        raise ValidationError({"If-None-Match": ["Of an order that is put it may be * alone."]}, code="invalid")
    return "If-None-Match" in request.headers


def named(tags: list[str] | None) -> set[int] | None:
    """The versions that `required` tags name, none perhaps; None for whichever it is."""
    return None if tags is None else {int(matched[1]) for tag in tags if (matched := VERSION.fullmatch(tag))}


def versions(tags: list[str] | None, order: Order) -> set[int] | None:
    """The versions that `required` tags stand for; None for whichever it is.

    Raises `VersionMismatch` if the order never had any of them.
    """
    found = named(tags)
    if tags is None or found is None:
        return None
    if not found:
        detail = "If-Match names no version of this order."
        if any(tag.startswith("W/") for tag in tags):
            # Proxies that compress an answer make its tag a weak one.
            detail += ' A weak tag never matches (RFC 9110, 13.1.1): leave the W/ out, as in If-Match: "2".'
        raise VersionMismatch(detail, version=order.version)
    return found
