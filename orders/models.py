"""The orders and their history.

Owns the rows and the rules that can live in the database. Every status that is saved, whichever way, leaves a
`StatusChange` behind: `Order.save()` keeps the row honest (version, compare-and-set) and `signals` writes the history.
Business rules are not here: they are in `lifecycle` and `services`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from django.conf import settings
from django.core.exceptions import FieldError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from orders.lifecycle import Status


class StaleOrder(Exception):
    """The row has changed since this instance was loaded; saving it would undo that change."""


@dataclass(frozen=True, slots=True)
class ChangeContext:
    """What `services` know of a change and the columns of an order do not say.

    `note` is shown to the customer; with `notify` false the customer's stream does not get the change. With `dated`
    true `status_since` has been set, be it to what it was; else saving a new status sets it to now.
    """

    actor: Any = None
    note: str = ""
    notify: bool = True
    dated: bool = False


class OrderQuerySet(models.QuerySet["Order"]):
    """Refuses the ways of writing that send no signal, because the customer would never learn of the change."""

    def update(self, **kwargs: Any) -> int:
        if "status" in kwargs:
            raise FieldError("update() of status bypasses the history; call orders.services.change_status().")
        return super().update(**kwargs)

    def bulk_update(self, objs: Iterable[Any], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        fields = list(fields)
        if "status" in fields:
            raise FieldError("bulk_update() of status bypasses the history; call orders.services.change_status().")
        return super().bulk_update(objs, fields, *args, **kwargs)

    def bulk_create(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("bulk_create() bypasses the history; call orders.services.create_order().")


class Order(models.Model):
    """One order as the shop knows it; `orders.selectors.snapshot` is what the world sees of it."""

    number = models.CharField(
        max_length=64,
        unique=True,
        help_text="The shop's own number, and the key in the URL.",
        # Unreserved characters of RFC 3986: a number never needs escaping in a path.
        validators=[RegexValidator(r"\A[A-Za-z0-9][A-Za-z0-9._~-]*\Z", "Letters, digits and . _ ~ - only.")],
    )
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.PENDING)
    version = models.PositiveBigIntegerField(default=1, editable=False)
    status_since = models.DateTimeField(default=timezone.now, editable=False)
    placed_at = models.DateTimeField(default=timezone.now)
    carrier = models.CharField(max_length=64, blank=True)
    # Never a key: carriers recycle tracking numbers.
    tracking_number = models.CharField(max_length=64, blank=True)
    tracking_url = models.URLField(max_length=500, blank=True)
    estimated_delivery = models.DateField(null=True, blank=True)
    currency = models.CharField(
        max_length=3,
        blank=True,
        validators=[RegexValidator(r"\A[A-Z]{3}\Z", "An ISO 4217 code, such as EUR.")],
    )
    total = models.DecimalField(
        max_digits=12, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)]
    )
    # Shown, never queried: a list of {"sku", "name", "quantity"}.
    items = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OrderQuerySet.as_manager()

    #: The columns whose change is a new version of the order.
    VERSIONED = (
        "number",
        "customer_id",
        "status",
        "status_since",
        "placed_at",
        "carrier",
        "tracking_number",
        "tracking_url",
        "estimated_delivery",
        "currency",
        "total",
        "items",
        "metadata",
    )

    #: Set by `services` for one save, and read by `signals`.
    context = ChangeContext()
    _loaded: dict[str, Any]

    class Meta:
        ordering = ("-placed_at", "-pk")
        permissions = (("override_status", "Can set any status, with a note"),)
        indexes = (
            # selectors.visible_to(customer), newest first.
            models.Index(fields=("customer", "-placed_at", "-id"), name="order_by_customer"),
            # The list of all orders, newest first.
            models.Index(fields=("-placed_at", "-id"), name="order_newest"),
            # ?updated_since=
            models.Index(fields=("updated_at",), name="order_updated"),
            # The work that is left to do is a small part of all orders ever placed.
            models.Index(
                fields=("status", "-placed_at"),
                name="order_open",
                condition=~Q(status__in=[Status.DELIVERED, Status.CANCELLED, Status.RETURNED]),
            ),
        )
        constraints = (
            models.CheckConstraint(condition=Q(status__in=Status.values), name="order_status_is_known"),
            models.CheckConstraint(condition=Q(version__gte=1), name="order_version_is_positive"),
            models.CheckConstraint(condition=~Q(number=""), name="order_number_is_not_empty"),
            models.CheckConstraint(
                condition=Q(total__isnull=True) | Q(total__gte=0), name="order_total_is_not_negative"
            ),
        )

    def __str__(self) -> str:
        return self.number

    def save(self, *, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Save what differs from what was loaded, as the next version; the history commits with it.

        Nothing is written when nothing differs. Raises `StaleOrder` when the row is no longer the one that was loaded,
        and ValueError when `update_fields` leaves out a column that was changed: the snapshot that goes out would tell
        of it.
        """
        self._normalise()
        version = self.version
        if self._state.adding:
            # With a key of its own Django would first try an UPDATE, and so replace whatever order has that key.
            kwargs.setdefault("force_insert", True)
        else:
            changed = self._changed()
            if update_fields is not None and (left_out := changed - {_column(name) for name in update_fields}):
                raise ValueError(f"save() would leave out what was changed: {', '.join(sorted(left_out))}.")
            if not changed:
                return
            if "status" in changed and "status_since" not in changed and not self.context.dated:
                self.status_since = timezone.now()
            self.version = version + 1
            update_fields = changed | {"status_since", "version", "updated_at"}
        try:
            # post_save writes the history and the notifications: they commit with the row or not at all. An error in
            # there rolls back the caller's transaction too, so no savepoint is spent on it.
            with transaction.atomic(savepoint=False):
                super().save(update_fields=update_fields, **kwargs)
        except BaseException:
            self.version = version  # else the next try would compare with a version that this instance never saw
            raise
        self._loaded = self._saved_values()
        self.context = ChangeContext()

    def _changed(self) -> set[str]:
        """The versioned columns that differ from the row as it was loaded."""
        if unread := [name for name in self.VERSIONED if name not in self._loaded]:
            # Deferred then, perhaps assigned since: the history has to know what was there. Should the row be another
            # by now, the version tells.
            self._loaded |= Order.objects.only(*unread).get(pk=self.pk)._loaded
        return {name for name, value in self._saved_values().items() if value != self._loaded[name]}

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **kwargs: Any) -> Self:
        order = super().from_db(db, field_names, values, **kwargs)
        order._loaded = order._saved_values()
        return order

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Order] | None = None,
    ) -> None:
        super().refresh_from_db(using=using, fields=fields, from_queryset=from_queryset)
        fresh = self._saved_values()
        # Reading a deferred field comes through here too, and must not forget what else was changed in memory.
        self._loaded |= (
            fresh if fields is None else {name: fresh[name] for name in map(_column, fields) if name in fresh}
        )

    def pretend_loaded(self, *, status: str) -> None:
        """Let the next save take this for the status that was there before: the row was changed past `save()`."""
        self._loaded["status"] = status

    @property
    def loaded_status(self) -> str:
        """The status in the database when this instance was loaded or last saved; empty for a new order."""
        return "" if self._state.adding else self._loaded["status"]

    def advance(self) -> None:
        """Count the version up, as `save` would; for `batch`, which writes many rows in one statement."""
        self._normalise()
        self.version += 1
        self._loaded = self._saved_values()

    def _do_update(self, base_qs: models.QuerySet[Order], *args: Any) -> Any:
        """Django's own hook for the UPDATE of a save: made a compare-and-set on the version, at no extra query.

        Two instances of one row that are saved one after the other would otherwise undo each other.
        """
        if self._state.adding:  # a fixture, which has not loaded what it replaces
            return super()._do_update(base_qs, *args)
        updated = super()._do_update(base_qs.filter(version=self.version - 1), *args)
        if not updated:
            raise StaleOrder(f"Order {self.number} has changed since it was loaded; load it again.")
        return updated

    def _normalise(self) -> None:
        """Turn assigned values into what the database will give back: a snapshot is the same before and after."""
        for field in self._meta.concrete_fields:
            if field.attname in self.__dict__ and not isinstance(field, models.JSONField):
                setattr(self, field.attname, field.to_python(getattr(self, field.attname)))

    def _saved_values(self) -> dict[str, Any]:
        """The versioned columns, in a form that later changes in place cannot reach."""
        values = {name: self.__dict__[name] for name in self.VERSIONED if name in self.__dict__}
        for name in ("items", "metadata"):
            if name in values:
                values[name] = json.dumps(values[name], sort_keys=True)
        return values


def _column(name: str) -> str:
    """The column of a field, which `update_fields` may name either way."""
    return next((field.attname for field in Order._meta.concrete_fields if field.name == name), name)


class StatusChange(models.Model):
    """One entry of an order's history: append-only, in the order in which it was recorded.

    With `applied` false it is an update that came too late, or repeated what was known: kept, and nothing moved.
    """

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="history")
    from_status = models.CharField(max_length=20, choices=Status.choices, blank=True)
    to_status = models.CharField(max_length=20, choices=Status.choices)
    applied = models.BooleanField(default=True)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    note = models.CharField(max_length=500, blank=True)
    notify = models.BooleanField(default=True)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.CheckConstraint(condition=Q(to_status__in=Status.values), name="change_to_status_is_known"),
            models.CheckConstraint(
                condition=Q(from_status__in=["", *Status.values]), name="change_from_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(applied=False) | ~Q(from_status=models.F("to_status")),
                name="change_applied_moves",
            ),
        )

    def __str__(self) -> str:
        return f"{self.order_id}: {self.from_status or 'new'} → {self.to_status}"
