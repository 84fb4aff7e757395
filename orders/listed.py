"""A list of texts for a query, as one parameter: `filter(number__in=listed(numbers))`.

With a thousand of them, the driver looks for a thousand parameters in the text of the query, which takes longer than
reading the rows. Where a list is short, Django's own way is as good.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from django.db import connection
from django.db.models.expressions import RawSQL


def listed(texts: Iterable[str]) -> RawSQL:
    """A subquery that gives the texts."""
    if connection.vendor == "sqlite":
        return RawSQL("SELECT value FROM json_each(%s)", [json.dumps(list(texts))])
    return RawSQL("SELECT unnest(%s::text[])", [list(texts)])
