"""The body and the answer of `/orders/batch`; the doing is `orders.batch`'.

Every line is checked by itself: one that cannot be accepted gets a problem as its result, and the others are carried
out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from rest_framework import serializers

from api import problems
from api.fields import Flag, Moment, Text, WebAddress
from api.serializers import StrictSerializer
from notifications.problems import members
from orders.batch import Line
from orders.lifecycle import Status
from orders.services import OrderError, Outcome

#: Lines of one batch. All of them are locked until the commit; a larger file is an import.
MAX_LINES = 1_000


class LineSerializer(StrictSerializer):
    """One change of a status, and what a shipment brings along."""

    number = Text(max_length=64)
    status = serializers.ChoiceField(choices=Status.choices)
    occurred_at = Moment(required=False)
    note = Text(max_length=500, allow_blank=True, required=False)
    notify = Flag(required=False)
    carrier = Text(max_length=64, allow_blank=True, required=False)
    tracking_number = Text(max_length=64, allow_blank=True, required=False)
    tracking_url = WebAddress(max_length=500, allow_blank=True, required=False)
    estimated_delivery = serializers.DateField(allow_null=True, required=False)


class BatchSerializer(StrictSerializer):
    """The body."""

    changes = serializers.ListField(allow_empty=False, max_length=MAX_LINES)


Checked = Line | dict[str, Any]


def read(data: Any) -> list[Checked]:
    """Each line, or the problem with it. Raises `ValidationError` for what is no batch at all."""
    body = BatchSerializer(data=data)
    body.is_valid(raise_exception=True)
    check = LineSerializer()
    return [_checked(check, index, given) for index, given in enumerate(body.validated_data["changes"])]


def answer(checked: Sequence[Checked], results: Iterable[Outcome | OrderError]) -> dict[str, Any]:
    """The body of the answer: `results` has one entry for each of the checked lines, in the order of those."""
    following = iter(results)
    entries = [
        _entry(index, line, next(following)) if isinstance(line, Line) else line for index, line in enumerate(checked)
    ]
    return {
        "applied": sum(entry.get("applied", False) for entry in entries),
        "refused": sum("problem" in entry for entry in entries),
        "results": entries,
    }


def _checked(check: LineSerializer, index: int, given: Any) -> Checked:
    try:
        fields = dict(check.run_validation(given))
    except serializers.ValidationError as error:
        number = given.get("number") if isinstance(given, dict) else None
        problem = members(
            HTTPStatus.BAD_REQUEST,
            code="invalid",
            detail="The line has fields that cannot be accepted.",
            errors=problems.pointers(error.get_full_details(), f"/changes/{index}"),
        )
        return {"number": number if isinstance(number, str) else None, "problem": problem}
    return Line(
        number=fields.pop("number"),
        to=fields.pop("status"),
        occurred_at=fields.pop("occurred_at", None),
        note=fields.pop("note", ""),
        notify=fields.pop("notify", True),
        fields=fields,
    )


def _entry(index: int, line: Line, result: Outcome | OrderError) -> dict[str, Any]:
    if isinstance(result, OrderError):
        return {"number": line.number, "problem": members(**problems.of_rule(result, at=f"/changes/{index}"))}
    order = result.order
    return {
        "number": order.number,
        "applied": result.applied,
        "status": str(order.status),
        "version": order.version,
    }
