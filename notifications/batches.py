"""Deleting very many rows without holding anybody up: batch by batch, each in a transaction of its own.

Called by what deletes rows that are over, here and in the rooms above. It sends no signal: nobody has to be told of the
end of such a row. Rows that refer to one, and go with it (`CASCADE`), are deleted too; but nothing may refer to those.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import transaction
from django.db.models import CASCADE, Model, QuerySet

logger = logging.getLogger(__name__)

#: Rows of one transaction: its locks last for some tens of milliseconds, and the rows' keys fit into one statement
#: (SQLite takes 32,766 parameters).
BATCH = 5_000
#: Seconds after which a run ends and leaves the rest to the next one. Celery's time limit has to be above it, and is
#: 270 in this project: there is time for the batch that has begun.
RUN_SECONDS = 200.0


class Deadline:
    """When a run has to end. Several deletions of one run share it."""

    def __init__(self, seconds: float = RUN_SECONDS) -> None:
        self._at = time.monotonic() + seconds

    def passed(self) -> bool:
        return time.monotonic() >= self._at

    def tell(self, what: str, deleted: int) -> None:
        """Say in the log that a run has ended before it was done."""
        logger.info("%s: %d rows deleted, and there are more; the next run goes on.", what, deleted)


def delete(rows: QuerySet[Any], *, along: str, deadline: Deadline) -> int:
    """Delete the rows, until none is left or the deadline has passed; gives their number.

    They are visited by rising `along`, a column with an index that is never null, and none is visited twice. Two runs
    at once share them out: each passes over what the other one has locked.
    """
    model, using = rows.model, rows.db
    deleted = 0
    ahead = rows = rows.order_by(along)
    while not deadline.passed():
        with transaction.atomic(using=using):
            found = list(ahead.select_for_update(skip_locked=True).values_list("pk", along)[:BATCH])
            if found:
                _delete(model, [key for key, _ in found], using)
                deleted += len(found)
        if len(found) < BATCH:
            return deleted
        # Not from the beginning again: what was just deleted is in the index until PostgreSQL's vacuum.
        ahead = rows.filter(**{f"{along}__gte": found[-1][1]})
    deadline.tell(model._meta.label, deleted)
    return deleted


def _delete(model: type[Model], keys: list[Any], using: str) -> None:
    for relation in model._meta.related_objects:
        if relation.on_delete is CASCADE:
            referring: Any = relation.related_model
            referring._base_manager.using(using).filter(**{f"{relation.field.name}__in": keys})._raw_delete(using)
    model._base_manager.using(using).filter(pk__in=keys)._raw_delete(using)
