"""Orders' numbers: what one may be, in which spelling it is kept, and how it stands in an address.

A number is the shop's own text, and the key in our addresses: `#1001`, `INV/2024/001`, `R-2024 0001`. Only what no
address could tell apart is refused. Case counts, and so do leading zeros: `a-1` and `A-1` are two orders, `7` and `007`
as well, in PostgreSQL as in SQLite. Knows no rows; the model, the API, the pages and their routes ask here.
"""

from __future__ import annotations

import unicodedata
from typing import Any
from urllib.parse import quote

from django.core.exceptions import ValidationError
from django.db import models

#: Characters of a number.
MAX_NUMBER = 64
#: What follows a number, or stands in its place, in an address of ours: no number ends in one of these parts. A test
#: compares them with the routes.
OWN_LAST_PARTS = frozenset({"batch", "history", "link", "messages"})

_CHARACTER = r"[^/\x00-\x1f\x7f-\x9f]"
_NO_OWN = "".join(f"(?<!/{part})" for part in sorted(OWN_LAST_PARTS))
#: A number in a route, a regular expression. Whether a client writes `/` or `%2F`, the route finds `/`. A number of one
#: part may be anything, since orders called `history` may be there from before this rule. It has no `(?:`, in which
#: Django's `simplify_regex`, and so the OpenAPI document, would lose its way.
IN_ROUTE = rf"{_CHARACTER}+|(?!.*//){_CHARACTER}+/[^\x00-\x1f\x7f-\x9f]*{_CHARACTER}{_NO_OWN}"


def spelled(number: str) -> str:
    """The spelling in which a number is kept: NFC, so that an `Ö` is one from any keyboard, and trimmed.

    What is longer than any number is given back as it is: normalising takes its time, for nothing.
    """
    return number if len(number) > MAX_NUMBER else unicodedata.normalize("NFC", number).strip()


def check_number(number: str) -> None:
    """Raises ValidationError for what cannot be an order's number. Its length is the field's to check."""
    if not number.isprintable():
        raise ValidationError("A number has printable characters only, and no other blanks than spaces.")
    parts = number.split("/")
    if "" in parts:
        raise ValidationError("A number neither begins nor ends with a slash, and has no two of them in a row.")
    if "." in parts or ".." in parts:
        raise ValidationError("Between slashes a number has neither . nor .. alone.")
    if parts[-1] in OWN_LAST_PARTS:
        raise ValidationError(f"A number does not end in {parts[-1]}, which ends addresses of ours.", code="reserved")


def in_path(number: str) -> str:
    """The number as it stands in a path: percent-encoded as JavaScript's `encodeURIComponent` does it, `/` too."""
    return quote(number, safe="!*'()")


class NumberField(models.CharField):
    """A column for numbers. What is saved or looked up is in the spelling that is kept, whoever does it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_length": MAX_NUMBER, "validators": [check_number], **kwargs})

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        return spelled(found) if isinstance(found, str) else found
