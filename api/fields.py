"""Fields that take one JSON type each; `serializers` are made of them.

REST framework's own read `"yes"` as true, 5 as "5" and a time without a zone as UTC. A system that sends such things
has a bug, and its maker wants to hear of it now.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.validators import ProhibitNullCharactersValidator, URLValidator
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from orders import numbers
from orders.customers import MAX_NAME, check_characters, spelled
from orders.selectors import rfc3339
from orders.shapes import MAX_QUANTITY


class Text(serializers.CharField):
    """A string; blanks around it are cut off."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, dict | list):  # CharField looks at str(data) first, which for a large one is a waste
            self.fail("invalid")
        return super().run_validation(data)


class Number(Text):
    """An order's number, which is the shop's own text, in the spelling that is kept."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=numbers.MAX_NUMBER, **kwargs)
        others = [rule for rule in self.validators if not isinstance(rule, ProhibitNullCharactersValidator)]
        self.validators = [*others, numbers.check_number]

    def to_internal_value(self, data: Any) -> str:
        return numbers.spelled(super().to_internal_value(data))


class UserName(Text):
    """A user's name, which is the shop's own text, in the spelling that is kept."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_NAME, **kwargs)
        others = [rule for rule in self.validators if not isinstance(rule, ProhibitNullCharactersValidator)]
        self.validators = [*others, check_characters]

    def to_internal_value(self, data: Any) -> str:
        return spelled(super().to_internal_value(data))


class StoredName(UserName):
    """A user's name, taken as it is written: in another spelling it may be one that another customer chose."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return Text.to_internal_value(self, data)


class Clearable(Text):
    """A string that may be empty. null empties it: many systems have no other word for nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_blank": True, "allow_null": True, "required": False, **kwargs})

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        return (True, "") if data is None else super().validate_empty_values(data)


class WebAddress(Clearable):
    """An http or https URL. Pages make links of it, so no other scheme may come in."""

    default_error_messages = {"invalid": "Enter a valid http or https URL."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators.append(URLValidator(schemes=["http", "https"], message=self.error_messages["invalid"]))


class Whole(serializers.IntegerField):
    """An integer, and not a string or a truth value. JSON has one kind of number: 2.0 is an integer too."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not (isinstance(data, int) or (isinstance(data, float) and data.is_integer())):
            self.fail("invalid")
        return super().to_internal_value(int(data))


@extend_schema_field({"type": "number", "exclusiveMinimum": 0, "maximum": MAX_QUANTITY})
class Quantity(serializers.Field):
    """How many, or how much, of something: a number as it was sent, 2 or 0.5, and not a string that looks like one."""

    default_error_messages = {
        "invalid": "A number is needed, such as 2 or 0.5.",
        "min_value": "Ensure this value is greater than 0.",
        "max_value": f"Ensure this value is less than or equal to {MAX_QUANTITY}.",
    }

    def to_internal_value(self, data: Any) -> int | float:
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        if data <= 0:
            self.fail("min_value")
        if data > MAX_QUANTITY:
            self.fail("max_value")
        return data

    def to_representation(self, value: float) -> int | float:
        return value


class Digits(serializers.IntegerField):
    """An integer of a query parameter, in ASCII digits; not 1.0."""

    def to_internal_value(self, data: Any) -> int:
        if not (data.isascii() and data.isdigit()):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


#: Some thirty digits, more than any column has. A text can be read in one way only: one with several is tried in all.
AMOUNT = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})")


class Amount(serializers.DecimalField):
    """Money: a decimal string, or a number for a caller that has nothing better."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        # Python reads the digits of every script and 1_0, and REST framework takes blanks for null.
        if isinstance(data, str) and not AMOUNT.fullmatch(data):
            self.fail("invalid")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool):
            self.fail("invalid")
        amount = super().to_internal_value(data)
        return amount + 0  # -0 becomes 0, as the database will have it


#: A time whose + was read as a blank.
BLANK_FOR_PLUS = re.compile(r"[0-9-]{10}[Tt ][0-9:.]{1,20} [0-9]{2}:?[0-9]{2}")


class Moment(serializers.DateTimeField):
    """An RFC 3339 time. It has to come with its zone: without one nobody knows the moment. It is given in UTC."""

    default_error_messages = {
        "invalid": "Enter an RFC 3339 time with its zone, such as 2026-03-01T12:00:00Z.",
        "no_zone": "The time has no zone; end it with Z or an offset such as +01:00.",
        "blank_for_plus": "There is a blank where the offset begins. In a URL a + stands for a blank: write it as %2B.",
    }

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str):
            self.fail("invalid")
        if BLANK_FOR_PLUS.fullmatch(value):
            self.fail("blank_for_plus")
        # `t` and `z` may be small (RFC 3339, 5.6); Python reads capitals.
        return super().to_internal_value(value.upper())

    def enforce_timezone(self, value: datetime) -> datetime:
        if timezone.is_naive(value):
            self.fail("no_zone")
        return super().enforce_timezone(value)

    def to_representation(self, value: datetime) -> str:
        return rfc3339(value)
