"""The admin for support staff: orders can be looked at and corrected, the history only read.

A status changes through an action that calls the service, so that the lifecycle is asked and the customer is told.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Model, QuerySet, URLField
from django.forms import CharField, HiddenInput, IntegerField, JSONField, ModelForm
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from orders import conversation, customers, services
from orders.lifecycle import Status
from orders.models import Change, Order, StaleOrder, StatusChange
from orders.shapes import check_items, check_metadata, check_values


class StatusChangeInline(admin.TabularInline):
    model = StatusChange
    fields = ("recorded_at", "from_status", "to_status", "applied", "occurred_at", "actor", "note")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def _mover(to: Status) -> Any:
    """The admin action that moves the selected orders to one status."""

    @admin.action(description=f"Set status: {to.label.lower()}", permissions=["change"])
    def move(modeladmin: OrderAdmin, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        moved = 0
        for order in queryset.order_by("pk"):
            try:
                moved += services.change_status(order=order, to=to, actor=request.user).applied
            except services.OrderError as refusal:
                modeladmin.message_user(request, f"{order.number}: {refusal}", messages.WARNING)
        modeladmin.message_user(request, f"{moved} moved to {to.label.lower()}.", messages.SUCCESS)

    move.__name__ = f"set_{to.value}"
    return move


#: Characters of a JSON field, far more than its bounds let pass: Python takes its time for numbers of many digits.
MAX_JSON = 500_000


class JSONText(JSONField):
    """Django's, which takes nothing that is too long, too deep or has numbers of thousands of digits for JSON."""

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) > MAX_JSON:
            raise ValidationError("This is too long.", code="max_length")
        try:
            found = super().to_python(value)
        except (ValueError, RecursionError):
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": ""}) from None
        check_values(found)
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            self.to_python(data)
        except ValidationError:
            return InvalidJSONInput(data)
        return super().bound_data(data, initial)


class OrderForm(ModelForm):
    """Holds the version that its fields were filled from: somebody may have changed the order while it was open."""

    seen_version = IntegerField(required=False, widget=HiddenInput)
    give_to = CharField(
        label="Give to another customer",
        required=False,
        max_length=150,
        help_text="The name of a user that exists. Both are told, and the conversation about the order is deleted.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["seen_version"].initial = self.instance.version

    def clean_items(self) -> Any:
        """Django looks at no value that it takes for empty, whatever it is."""
        items = self.cleaned_data["items"]
        items = [] if items is None else items
        check_items(items)
        return items

    def clean_metadata(self) -> Any:
        metadata = self.cleaned_data["metadata"]
        metadata = {} if metadata is None else metadata
        check_metadata(metadata)
        return metadata

    def clean_give_to(self) -> Any:
        name = self.cleaned_data["give_to"]
        customer = customers.called(customers.spelled(name)) if name else None
        if name and customer is None:
            raise ValidationError("There is no such user.")
        return customer

    def clean(self) -> dict[str, Any] | None:
        fields = super().clean()
        if self.instance.pk and self.cleaned_data.get("seen_version") != self.instance.version:
            raise ValidationError("The order has changed since this form was opened: load the page again.")
        return fields


class WaitingFilter(admin.SimpleListFilter):
    """Orders whose customers wait for an answer. What they wrote is on the order's page, for staff who may reply."""

    title = "conversation"
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("true", "Waits for an answer")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        return conversation.waiting(queryset) if self.value() == "true" else queryset


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = (
        "number",
        "customer",
        "status",
        "status_since",
        "carrier",
        "tracking_number",
        "estimated_delivery",
    )
    form = OrderForm
    list_filter = ("status", WaitingFilter, "carrier")
    list_select_related = ("customer",)
    search_fields = ("number", f"customer__{get_user_model().USERNAME_FIELD}", "tracking_number")
    date_hierarchy = "placed_at"
    raw_id_fields = ("customer",)
    inlines = (StatusChangeInline,)
    actions = [_mover(status) for status in Status]
    # An address that is typed without a scheme is a carrier's, and those speak https.
    formfield_overrides = {
        URLField: {"assume_scheme": "https"},
        models.JSONField: {"form_class": JSONText, "decoder": None},
    }

    def get_readonly_fields(self, request: HttpRequest, obj: Order | None = None) -> tuple[str, ...]:
        fixed = ("version", "status_since", "created_at", "updated_at")
        # The number is the key in other systems' URLs, and the customer decides whose stream was told: there is a field
        # of its own for another one.
        return fixed if obj is None else ("number", "customer", "status", *fixed)

    def get_fields(self, request: HttpRequest, obj: Order | None = None) -> Any:
        return [name for name in super().get_fields(request, obj) if obj is not None or name != "give_to"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Numbers and names are kept in one spelling, and are looked for in it."""
        return super().get_search_results(request, queryset, unicodedata.normalize("NFC", search_term))

    def save_model(self, request: HttpRequest, obj: Order, form: ModelForm, change: bool) -> None:
        obj.save(change=Change(actor=request.user))
        if change and (customer := form.cleaned_data.get("give_to")):
            services.change_customer(order=obj, customer=customer, actor=request.user)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except StaleOrder as stale:  # The order changed after the form had compared its version, and before the save.
            self.message_user(request, str(stale), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def has_delete_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        # An order is cancelled, never deleted: its history is the shop's record.
        return False


@admin.register(StatusChange)
class StatusChangeAdmin(admin.ModelAdmin):
    list_display = ("order", "from_status", "to_status", "applied", "occurred_at", "recorded_at", "actor")
    list_filter = ("to_status", "applied")
    list_select_related = ("order", "actor")
    search_fields = ("order__number",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: StatusChange | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: StatusChange | None = None) -> bool:
        return False
