"""The table of orders, with the rules that the database keeps.

How an order is saved is in `saving`, what is recorded of a change in `history`; business rules are in `lifecycle` and
`services`. Ways of writing that would leave no history are refused here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import FieldError
from django.core.validators import MinValueValidator, RegexValidator, URLValidator
from django.db import connections, models, transaction
from django.db.models import Q
from django.db.models.signals import post_save
from django.utils import timezone

from orders.customers import CustomerName
from orders.history import Change, StatusChange
from orders.lifecycle import AWAITED, Status
from orders.messages import Conversation, Message
from orders.money import MAX_AMOUNT, MAX_DECIMALS, MAX_DIGITS
from orders.numbers import NumberField
from orders.positions import Numbering, TransactionNumber, count_write, this_transaction
from orders.saving import RecordedModel, StaleOrder, record_save
from orders.shapes import Readable, check_items, check_metadata, have_a_year

#: Django looks for the models of an app in this module.
__all__ = ["Change", "Conversation", "CustomerName", "Message", "Numbering", "Order", "StaleOrder", "StatusChange"]


class OrderQuerySet(models.QuerySet["Order"]):
    """Refuses the ways of writing that send no signal, because the customer would never learn of the change."""

    def update(self, **kwargs: Any) -> int:
        if "status" in kwargs:
            raise FieldError("update() of status bypasses the history; call orders.services.change_status().")
        if "version" not in kwargs or "tx" in kwargs:
            return super().update(**kwargs)
        # A new version is a change that `positions` tell of.
        with transaction.atomic(using=self.db):
            count_write()
            return super().update(**kwargs, tx=this_transaction(connections[self.db].vendor))

    def bulk_update(self, objs: Iterable[Any], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        fields = list(fields)
        if "status" in fields:
            raise FieldError("bulk_update() of status bypasses the history; call orders.services.change_status().")
        return super().bulk_update(objs, fields, *args, **kwargs)

    def bulk_create(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("bulk_create() bypasses the history; call orders.services.create_order().")


class Order(RecordedModel):
    """One order as the shop knows it; `orders.selectors.snapshot` is what the world sees of it."""

    number = NumberField(unique=True, help_text="The shop's own number, and the key in the URL.")
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.PENDING)
    version = models.PositiveBigIntegerField(default=1, editable=False)
    status_since = models.DateTimeField(default=timezone.now, editable=False)
    # When the newest of what is known of the order happened, what moved nothing included. None as long as that is only
    # a beginning whose time nobody told. An update that is newer needs no look at the history.
    news_at = models.DateTimeField(null=True, blank=True, editable=False)
    placed_at = models.DateTimeField(default=timezone.now)
    carrier = models.CharField(max_length=64, blank=True)
    # Never a key: carriers recycle tracking numbers.
    tracking_number = models.CharField(max_length=64, blank=True)
    # Pages make a link of it; Django's own validator would take ftp too.
    tracking_url = models.URLField(max_length=500, blank=True, validators=[URLValidator(schemes=["http", "https"])])
    estimated_delivery = models.DateField(null=True, blank=True)
    currency = models.CharField(
        max_length=3,
        blank=True,
        validators=[RegexValidator(r"\A[A-Z]{3}\Z", "An ISO 4217 code, such as EUR.")],
    )
    total = models.DecimalField(
        max_digits=MAX_DIGITS,
        decimal_places=MAX_DECIMALS,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
    )
    # Shown, never queried: a list of {"sku", "name", "quantity"}, the sku perhaps.
    items = models.JSONField(default=list, blank=True, decoder=Readable, validators=[check_items])
    metadata = models.JSONField(default=dict, blank=True, decoder=Readable, validators=[check_metadata])
    #: The promised day of which the customer was told that it was missed: `delays`.
    delay_told_for = models.DateField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    # Where the order stands among all changes: `positions`.
    tx = TransactionNumber(default=0, db_default=0, editable=False)

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

    VERSIONED_JSON = ("items", "metadata")

    class Meta:
        ordering = ("-placed_at", "-pk")
        permissions = (
            ("override_status", "Can set any status, with a note"),
            ("reply_to_order", "Can read and write messages about orders"),
        )
        indexes = (
            # selectors.visible_to(customer), newest first.
            models.Index(fields=("customer", "-placed_at", "-id"), name="order_by_customer"),
            # The list of all orders, newest first.
            models.Index(fields=("-placed_at", "-id"), name="order_newest"),
            # ?updated_since=
            models.Index(fields=("updated_at",), name="order_updated"),
            # delays.orders_late: a small part of all orders, and of it some days.
            models.Index(fields=("estimated_delivery",), name="order_awaited", condition=Q(status__in=sorted(AWAITED))),
            # ?order_by=updated
            models.Index(fields=("tx", "id"), name="order_changes"),
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
            # The part of `check_number` that SQL can say.
            models.CheckConstraint(
                condition=~Q(number__startswith="/") & ~Q(number__endswith="/") & ~Q(number__contains="//"),
                name="order_number_has_no_empty_part",
            ),
            models.CheckConstraint(
                condition=Q(total__isnull=True) | Q(total__gte=0), name="order_total_is_not_negative"
            ),
            # What PostgreSQL has beyond them no Python reads, and one such row would fail every list that it stands in.
            # NaN is more than any number there.
            models.CheckConstraint(
                condition=Q(total__isnull=True) | Q(total__lte=MAX_AMOUNT), name="order_total_is_a_number"
            ),
            models.CheckConstraint(
                condition=Q(estimated_delivery__isnull=True) | Q(estimated_delivery__range=(date.min, date.max)),
                name="order_dates_have_a_year",
            ),
            models.CheckConstraint(
                condition=have_a_year("placed_at", "status_since", "created_at", "updated_at"),
                name="order_times_have_a_year",
            ),
            models.CheckConstraint(
                condition=Q(news_at__isnull=True) | have_a_year("news_at"), name="order_news_have_a_year"
            ),
        )

    def __str__(self) -> str:
        return self.number


# Before any other module can import `Order`, and so before any other receiver: one that saves the order once more finds
# the first save recorded.
post_save.connect(record_save, sender=Order)
