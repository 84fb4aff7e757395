"""An order's ETag is its version in quotes: a GET can be spared by it, and a PATCH be guarded."""

from __future__ import annotations

from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.serializers import ValidationError

from orders.models import Order
from orders.services import VersionMismatch


def of(order: Order) -> str:
    """A strong entity tag (RFC 9110, 8.8.3)."""
    return f'"{order.version}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` says that the caller has this one already (RFC 9110, 13.1.2: compared weakly)."""
    known = parse_etags(request.headers.get("If-None-Match", ""))
    return known == ["*"] or tag in [one.removeprefix("W/") for one in known]


def expected_version(request: Request) -> int | None:
    """The version that `If-Match` asks for; None without the header, or for `*`: whichever it is.

    Raises `VersionMismatch` for a tag that no order of ours ever had.
    """
    header = request.headers.get("If-Match", "").strip()
    if header in ("", "*"):
        return None
    tags = parse_etags(header)
    if len(tags) > 1:
        raise ValidationError({"If-Match": ["Name one version; an order has one at a time."]}, code="invalid")
    tag = tags[0].strip('"') if tags else ""
    if not (tag.isascii() and tag.isdigit()):
        raise VersionMismatch("If-Match names no version of this order.")
    return int(tag)
