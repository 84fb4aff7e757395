"""The body and the answer of `/orders/batch`; `orders.bulk` carries it out.

Every line is checked by itself: one that cannot be accepted gets a problem as its result, and the others are carried
out. There may be a thousand, so their results are put together here and not field by field: the fields of the answer's
serializers are its description.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, NotRequired, TypedDict

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from api import problems
from api.fields import Clearable, Flag, Moment, Number, WebAddress
from api.serializers import StrictSerializer
from notifications.problems import members
from orders.bulk import Line
from orders.lifecycle import Status
from orders.numbers import MAX_NUMBER
from orders.services import OrderError, Outcome

#: Lines of one batch. All of them are locked until the commit; a larger file is an import.
MAX_LINES = 1_000
#: Errors of one line that are told: a thousand lines with all of theirs would be ten times what was sent.
MAX_ERRORS = 5


class LineSerializer(StrictSerializer):
    """One change of a status, and what a shipment brings along."""

    number = Number()
    status = serializers.ChoiceField(choices=Status.choices)
    occurred_at = Moment(required=False)
    note = Clearable(max_length=500)
    notify = Flag(required=False)
    carrier = Clearable(max_length=64)
    tracking_number = Clearable(max_length=64)
    tracking_url = WebAddress(max_length=500)
    estimated_delivery = serializers.DateField(allow_null=True, required=False)


@extend_schema_field(LineSerializer(many=True, min_length=1, max_length=MAX_LINES))  # type: ignore[call-arg]
class Lines(serializers.ListField):
    """The lines, each of which is checked later and by itself."""


class BatchSerializer(StrictSerializer):
    """The lines of a batch."""

    changes = Lines(allow_empty=False, max_length=MAX_LINES)


class ProblemErrorSerializer(serializers.Serializer):
    pointer = serializers.CharField(allow_blank=True, help_text="A JSON pointer (RFC 6901) into body or query.")
    code = serializers.CharField()
    detail = serializers.CharField()


class LineProblemSerializer(serializers.Serializer):
    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = ProblemErrorSerializer(many=True)  # type: ignore[assignment]  # a name of the serializer itself
    allowed = serializers.ListField(
        child=serializers.ChoiceField(choices=Status.choices), required=False, help_text="With `illegal_transition`."
    )
    customer = serializers.CharField(required=False, help_text="With `customer_exists`: the name as it is kept.")


class LineResultSerializer(serializers.Serializer):
    """`problem` for a line that was refused, otherwise the four others."""

    number = serializers.CharField(allow_null=True)
    applied = serializers.BooleanField(required=False)
    status = serializers.ChoiceField(choices=Status.choices, required=False)
    version = serializers.IntegerField(required=False)
    ignored = serializers.ListField(child=serializers.CharField(), required=False)
    problem = LineProblemSerializer(required=False)


class LineResult(TypedDict):
    """What became of one line."""

    number: str | None
    applied: NotRequired[bool]
    status: NotRequired[str]
    version: NotRequired[int]
    ignored: NotRequired[list[str]]
    problem: NotRequired[dict[str, Any]]


class BatchResultSerializer(serializers.Serializer):
    """What became of the lines."""

    applied = serializers.IntegerField()
    refused = serializers.IntegerField()
    results = LineResultSerializer(many=True, help_text="One for each line, in their order.")

    def to_representation(self, instance: list[LineResult]) -> dict[str, Any]:
        return {
            "applied": sum(result.get("applied", False) for result in instance),
            "refused": sum("problem" in result for result in instance),
            "results": instance,
        }


Checked = Line | LineResult


def read(data: Any) -> list[Checked]:
    """Each line, or the problem with it. Raises `ValidationError` for what is no batch at all."""
    body = BatchSerializer(data=data)
    body.is_valid(raise_exception=True)
    check = LineSerializer()
    return [_checked(check, index, given) for index, given in enumerate(body.validated_data["changes"])]


def results(checked: Sequence[Checked], outcomes: Iterable[Outcome | OrderError]) -> list[LineResult]:
    """One for each checked line; `outcomes` has one for each that could be accepted, in the order of those."""
    following = iter(outcomes)
    return [
        _result(index, line, next(following)) if isinstance(line, Line) else line for index, line in enumerate(checked)
    ]


def _checked(check: LineSerializer, index: int, given: Any) -> Checked:
    try:
        fields = dict(check.run_validation(given))
    except serializers.ValidationError as error:
        number = given.get("number") if isinstance(given, dict) else None
        problem = members(
            HTTPStatus.BAD_REQUEST,
            code="invalid",
            detail="The line has fields that cannot be accepted.",
            errors=problems.pointers(error.get_full_details(), f"/changes/{index}")[:MAX_ERRORS],
        )
        return {"number": number[:MAX_NUMBER] if isinstance(number, str) else None, "problem": problem}
    return Line(
        number=fields.pop("number"),
        to=fields.pop("status"),
        occurred_at=fields.pop("occurred_at", None),
        note=fields.pop("note", ""),
        notify=fields.pop("notify", True),
        fields=fields,
    )


def _result(index: int, line: Line, outcome: Outcome | OrderError) -> LineResult:
    if isinstance(outcome, OrderError):
        return {"number": line.number, "problem": members(**problems.of_rule(outcome, at=f"/changes/{index}"))}
    order = outcome.order
    return {
        "number": order.number,
        "applied": outcome.applied,
        "status": str(order.status),
        "version": order.version,
        "ignored": list(outcome.ignored),
    }
