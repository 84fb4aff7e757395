"""An order's ETag is its version in quotes: a GET can be spared by it, and a PATCH be guarded."""

from __future__ import annotations

import re

from django.utils.http import parse_etags
from rest_framework.request import Request

from orders.models import Order
from orders.services import VersionMismatch

#: The tags that `of` gives, as far as the column counts.
VERSION = re.compile(r'"([1-9][0-9]{0,18})"')


def of(order: Order) -> str:
    """A strong entity tag (RFC 9110, 8.8.3)."""
    return f'"{order.version}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` says that the caller has this one already (RFC 9110, 13.1.2: compared weakly)."""
    known = parse_etags(request.headers.get("If-None-Match", ""))
    return known == ["*"] or tag in [one.removeprefix("W/") for one in known]


def expected_versions(request: Request) -> set[int] | None:
    """The versions that `If-Match` accepts; None without the header, or for `*`: whichever it is.

    Raises `VersionMismatch` if no order of ours ever had any of its tags.
    """
    header = request.headers.get("If-Match", "").strip()
    if header in ("", "*"):
        return None
    versions = {int(found[1]) for tag in parse_etags(header) if (found := VERSION.fullmatch(tag))}
    if not versions:
        raise VersionMismatch("If-Match names no version of this order.")
    return versions
