"""The body and the answer of `/orders/batch`; `orders.bulk` and `orders.upsert` carry it out.

Every line is checked by itself: one that cannot be accepted gets a problem as its result, and the others are carried
out. There may be a thousand, so their results are put together here and not field by field: the fields of the answer's
serializers are its description.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NotRequired, TypedDict, TypeVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from api import problems
from api.fields import Clearable, Flag, Moment, Number, WebAddress
from api.serializers import PutOrderSerializer, StrictSerializer
from notifications.problems import members
from orders.bulk import Line
from orders.lifecycle import Status
from orders.numbers import MAX_NUMBER
from orders.services import OrderError, Outcome
from orders.upsert import Put, Result, Whole

#: Lines of one batch. All of them are locked until the commit; a larger file is an import.
MAX_LINES = 1_000
#: Errors of one line that are told: a thousand lines with all of theirs would be ten times what was sent.
MAX_ERRORS = 5

T = TypeVar("T", Line, Whole)


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


class WholeLineSerializer(PutOrderSerializer):
    """One order, as for PUT."""

    number = Number()


@extend_schema_field(WholeLineSerializer(many=True, min_length=1, max_length=MAX_LINES))  # type: ignore[call-arg]
class WholeLines(serializers.ListField):
    """As `Lines`."""


class BatchSerializer(StrictSerializer):
    """The lines of a batch."""

    changes = Lines(allow_empty=False, max_length=MAX_LINES, required=False)
    orders = WholeLines(allow_empty=False, max_length=MAX_LINES, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Whole orders and changes of statuses in one batch would leave open which of them come first."""
        if len(attrs) != 1:
            message = "A batch has either `changes` or `orders`."
            code = "required" if not attrs else "one_of_both"
            raise serializers.ValidationError({name: [message] for name in attrs or ("changes",)}, code=code)
        return attrs


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
    order = serializers.CharField(required=False, help_text="With `number_taken`: the address of the order.")
    version = serializers.IntegerField(required=False, help_text="With `number_taken`: the order's.")


class LineResultSerializer(serializers.Serializer):
    """`problem` for a line that was refused, otherwise the others: `applied` of changes, `result` of orders."""

    number = serializers.CharField(allow_null=True)
    applied = serializers.BooleanField(required=False)
    result = serializers.ChoiceField(choices=[one.value for one in Result], required=False)
    status = serializers.ChoiceField(choices=Status.choices, required=False)
    version = serializers.IntegerField(required=False)
    ignored = serializers.ListField(child=serializers.CharField(), required=False)
    problem = LineProblemSerializer(required=False)


class LineResult(TypedDict):
    """What became of one line."""

    number: str | None
    applied: NotRequired[bool]
    result: NotRequired[str]
    status: NotRequired[str]
    version: NotRequired[int]
    ignored: NotRequired[list[str]]
    problem: NotRequired[dict[str, Any]]


class BatchResultSerializer(serializers.Serializer):
    """What became of the lines: how many changes were `applied`, or how many orders were created and so on."""

    applied = serializers.IntegerField(required=False)
    created = serializers.IntegerField(required=False)
    updated = serializers.IntegerField(required=False)
    unchanged = serializers.IntegerField(required=False)
    refused = serializers.IntegerField()
    results = LineResultSerializer(many=True, help_text="One for each line, in their order.")

    def to_representation(self, instance: tuple[str, list[LineResult]]) -> dict[str, Any]:
        name, results = instance
        what = Counter(result.get("result") for result in results)
        applied = {"applied": sum(result.get("applied", False) for result in results)}
        return {
            **(applied if name == "changes" else {one.value: what[one.value] for one in Result}),
            "refused": sum("problem" in result for result in results),
            "results": results,
        }


@dataclass(frozen=True, slots=True)
class Batch:
    """What was sent: `name` is that of the list, each line is checked, or the problem with it."""

    name: str
    lines: Sequence[Line | Whole | LineResult]

    def accepted(self, kind: type[T]) -> list[T]:
        """The lines that can be carried out."""
        return [line for line in self.lines if isinstance(line, kind)]


def read(data: Any) -> Batch:
    """Each line, or the problem with it. Raises `ValidationError` for what is no batch at all."""
    body = BatchSerializer(data=data)
    body.is_valid(raise_exception=True)
    [(name, lines)] = body.validated_data.items()
    check, make = (LineSerializer(), _change) if name == "changes" else (WholeLineSerializer(), whole)
    return Batch(name, [_checked(check, make, f"/{name}/{index}", given) for index, given in enumerate(lines)])


def results(batch: Batch, outcomes: Iterable[Outcome | Put | OrderError]) -> tuple[str, list[LineResult]]:
    """One for each line; `outcomes` has one for each that could be accepted, in the order of those."""
    following = iter(outcomes)
    found: list[LineResult] = []
    for index, line in enumerate(batch.lines):
        if isinstance(line, Line | Whole):
            found.append(_result(f"/{batch.name}/{index}", line.number, next(following)))
        else:
            found.append(line)
    return batch.name, found


def whole(fields: dict[str, Any], *, there: bool | None = None, versions: Collection[int] | None = None) -> Whole:
    """The line of `put_orders` for what `PutOrderSerializer` has accepted."""
    return Whole(
        number=fields.pop("number"),
        customer=fields.pop("customer", None),
        to=fields.pop("status", None),
        occurred_at=fields.pop("occurred_at", None),
        note=fields.pop("note", ""),
        notify=fields.pop("notify", True),
        fields=fields,
        there=there,
        versions=versions,
    )


def _change(fields: dict[str, Any]) -> Line:
    return Line(
        number=fields.pop("number"),
        to=fields.pop("status"),
        occurred_at=fields.pop("occurred_at", None),
        note=fields.pop("note", ""),
        notify=fields.pop("notify", True),
        fields=fields,
    )


def _checked(
    check: StrictSerializer, make: Callable[[dict[str, Any]], Line | Whole], pointer: str, given: Any
) -> Line | Whole | LineResult:
    try:
        return make(dict(check.run_validation(given)))
    except serializers.ValidationError as error:
        number = given.get("number") if isinstance(given, dict) else None
        problem = members(
            HTTPStatus.BAD_REQUEST,
            code="invalid",
            detail="The line has fields that cannot be accepted.",
            errors=problems.pointers(error.get_full_details(), pointer)[:MAX_ERRORS],
        )
        return {"number": number[:MAX_NUMBER] if isinstance(number, str) else None, "problem": problem}


def _result(pointer: str, number: str, outcome: Outcome | Put | OrderError) -> LineResult:
    if isinstance(outcome, OrderError):
        return {"number": number, "problem": members(**problems.of_rule(outcome, at=pointer))}
    if isinstance(outcome, Put):
        return {
            "number": outcome.number,
            "result": str(outcome.result),
            "status": str(outcome.status),
            "version": outcome.version,
            "ignored": list(outcome.ignored),
        }
    order = outcome.order
    return {
        "number": order.number,
        "applied": outcome.applied,
        "status": str(order.status),
        "version": order.version,
        "ignored": list(outcome.ignored),
    }
