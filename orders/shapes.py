"""What an order's JSON columns and its link may hold, and what is shown of them if they hold something else.

The checks are the model's, and so the admin's; the API has them field by field, with the same bounds. Raw SQL passes
all of them. So whatever shows an order takes `lines_of`, `object_of` and `link_of` of it: an order that cannot be shown
whole is shown without what is wrong, and never takes the page, the board or the list with it that it stands in.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q

#: An order travels whole in every notification of it. With these bounds it has some 320,000 characters at the very
#: most, and commonly a thousand: what lists many orders bounds their characters as well (`characters_of`).
MAX_ITEMS = 500
MAX_NAME = 500
MAX_SKU = 64
#: Characters of a line beside its name: the sku, the quantity and the JSON around them.
LINE_CHARACTERS = 120
#: Characters of an order beside its lines and metadata.
ORDER_CHARACTERS = 2_000
MAX_QUANTITY = 1_000_000
MAX_METADATA = 8_000
#: Levels of nesting: far more than an order has, far fewer than a parser's stack.
MAX_DEPTH = 16
#: Integers beyond it arrive in a browser as others (I-JSON, RFC 7493, 2.2).
MAX_NUMBER = 2**53 - 1
#: Brackets that a text may have before its nesting is measured: that many levels fit into Python's stack.
HARMLESS_BRACKETS = 400

#: Control characters but for tab and line breaks, and halves of surrogate pairs. PostgreSQL refuses the NUL among
#: them; the others have no business in a name or a note, and do harm in a terminal that shows a log.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
LINK = re.compile(r"https?://", re.IGNORECASE)


class Readable(json.JSONDecoder):
    """Reads what the column has; None where Python cannot: numbers of thousands of digits, nesting by the thousand."""

    def decode(self, s: str, *args: Any) -> Any:
        try:
            value = super().decode(s, *args)
            if s.count("[") + s.count("{") > HARMLESS_BRACKETS:
                _measure(value)
        except (ValueError, RecursionError):
            return None
        return value


def lines_of(items: Any) -> list[dict[str, Any]]:
    """The lines that can be shown: objects with a name and a quantity."""
    return [line for line in items if _is_line(line)] if isinstance(items, list) else []


def characters_of(items: Any, metadata: Any) -> int:
    """About how many characters an order with these has as JSON."""
    lines = sum(len(line["name"]) + LINE_CHARACTERS for line in lines_of(items))
    return ORDER_CHARACTERS + lines + (len(json.dumps(metadata, ensure_ascii=False)) if metadata else 0)


def object_of(metadata: Any) -> dict[str, Any]:
    """The metadata, if they are an object."""
    return metadata if isinstance(metadata, dict) else {}


def link_of(address: str) -> str:
    """The address, if it is one of the web: `javascript:` and its like are nothing that a page may link to."""
    return address if LINK.match(address) else ""


def have_a_year(*columns: str) -> Q:
    """Whether these times are from 1 to 9999: PostgreSQL also has -infinity, 4713 BC and 294276."""
    years = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    return Q(*(Q((f"{column}__range", years)) for column in columns))


def check_items(items: Any) -> None:
    """Raises ValidationError unless it is a list of `{"name", "quantity"}`, each perhaps with a `"sku"`."""
    if not isinstance(items, list):
        raise ValidationError('A list is needed, such as [{"sku": "TEA-01", "name": "Assam tea", "quantity": 2}].')
    if len(items) > MAX_ITEMS:
        raise ValidationError(f"At most {MAX_ITEMS} items are possible.")
    for number, line in enumerate(items, start=1):
        if not _is_line(line) or line.keys() - {"sku", "name", "quantity"}:
            raise ValidationError(f"Item {number} is not {{name, quantity, sku}} with a text, a number and a text.")
        if not (0 < len(line["name"]) <= MAX_NAME and len(line.get("sku", "")) <= MAX_SKU):
            raise ValidationError(f"Item {number} has a name or an sku that is empty or too long.")
        if not 0 < line["quantity"] <= MAX_QUANTITY:
            raise ValidationError(f"Item {number} has a quantity that is not above 0 and up to {MAX_QUANTITY:,}.")
    check_values(items)


def check_metadata(metadata: Any) -> None:
    """Raises ValidationError unless it is an object, and within the bounds."""
    if not isinstance(metadata, dict):
        raise ValidationError('An object is needed, such as {"shelf": "B4"}.')
    check_values(metadata)
    if len(json.dumps(metadata, ensure_ascii=False)) > MAX_METADATA:
        raise ValidationError(f"Metadata is more than {MAX_METADATA:,} characters.")


def _is_line(line: Any) -> bool:
    return (
        isinstance(line, dict)
        and isinstance(line.get("name"), str)
        and isinstance(line.get("sku", ""), str)
        and isinstance(line.get("quantity"), int | float)
        and not isinstance(line["quantity"], bool)
        and math.isfinite(line["quantity"])
    )


def check_values(value: Any) -> None:
    """Raises ValidationError for what the database, the log or a browser could not hold."""
    for depth, inner in _walk(value):
        if depth > MAX_DEPTH:
            raise ValidationError(f"More than {MAX_DEPTH} levels of nesting.")
        if isinstance(inner, str) and FORBIDDEN.search(inner):
            raise ValidationError("Control characters are not allowed.")
        if isinstance(inner, int | float) and not (math.isfinite(inner) and abs(inner) <= MAX_NUMBER):
            raise ValidationError("A number is too large; write it as a text.")


def _measure(value: Any) -> None:
    """Raises RecursionError for what others could not write again."""
    if any(depth > HARMLESS_BRACKETS for depth, _ in _walk(value)):
        raise RecursionError


def _walk(value: Any) -> Any:
    """Every value and every name, with its level. Without recursion: the levels may be too many for that."""
    waiting = [(1, value)]
    while waiting:
        depth, inner = waiting.pop()
        yield depth, inner
        if isinstance(inner, dict):
            waiting += [(depth + 1, part) for pair in inner.items() for part in pair]
        elif isinstance(inner, list):
            waiting += [(depth + 1, part) for part in inner]
