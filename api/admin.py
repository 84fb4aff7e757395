"""Tokens in the admin: made for a user and shown once, listed, deleted; and nothing of them can be changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from knox.models import AuthToken, get_digest_token
from knox.settings import CONSTANTS

from api import tokens
from api.accounts import GroupAdmin, UserAdmin
from api.management.commands.create_token import DEFAULT_DAYS, MAX_DAYS
from api.models import TokenName, printable
from notifications.access.delegation import may_act_for

__all__ = ["GroupAdmin", "TokenAdmin", "UserAdmin"]  # Django looks for all of the admin in this module

admin.site.unregister(AuthToken)  # knox's shows the token in a message, and so leaves it in a cookie


class TokenForm(forms.ModelForm):
    """Whose token, what it is for, and for how long."""

    name = forms.CharField(
        max_length=TokenName.MAX_LENGTH, required=False, validators=[printable], help_text="What it is for."
    )
    days = forms.IntegerField(min_value=1, max_value=MAX_DAYS, initial=DEFAULT_DAYS, help_text="Until it expires.")

    class Meta:
        model = AuthToken
        fields = ("user",)

    #: Who is asking.
    maker: Any

    def clean_user(self) -> Any:
        """By the rule of `may_act_for`: whoever may make tokens may not become somebody who may do more."""
        user = self.cleaned_data["user"]
        if not may_act_for(self.maker, user):
            raise ValidationError(
                "This user may do what you may not; a superuser can make the token.", code="may_do_more"
            )
        return user

    def save(self, commit: bool = True) -> AuthToken:
        token: AuthToken = super().save(commit=False)
        token.digest, self.secret = get_digest_token()
        token.token_key = self.secret[: CONSTANTS.TOKEN_KEY_LENGTH]
        token.expiry = timezone.now() + timedelta(days=self.cleaned_data["days"])
        return token


@admin.register(AuthToken)
class TokenAdmin(admin.ModelAdmin):
    list_display = ("token_key", "name", "user", "created", "expiry")
    list_select_related = ("user", "label")
    list_filter = ("expiry",)
    search_fields = ("token_key", "label__name", "user__username")
    ordering = ("-created", "digest")
    fields = ("token_key", "name", "user", "created", "expiry")
    readonly_fields = ("name",)
    raw_id_fields = ("user",)

    def get_fields(self, request: HttpRequest, obj: AuthToken | None = None) -> Any:
        return ("user", "name", "days") if obj is None else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: AuthToken | None = None) -> Any:
        return () if obj is None else self.readonly_fields

    @admin.display(ordering="label__name")
    def name(self, token: AuthToken) -> str:
        return token.label.name if hasattr(token, "label") else ""

    def get_form(self, request: HttpRequest, obj: AuthToken | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change, **kwargs)
        kwargs |= {"form": TokenForm, "fields": ("user",)}
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.maker = request.user  # of a class of this request's own, made by the line above
        return form

    def save_model(self, request: HttpRequest, obj: AuthToken, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        tokens.call(obj, form.cleaned_data["name"])
        obj.secret = form.secret

    def response_add(self, request: HttpRequest, obj: AuthToken, post_url_continue: str | None = None) -> HttpResponse:
        """The token itself, this once."""
        context = {**self.admin_site.each_context(request), "title": "Token created", "token": obj}
        return TemplateResponse(request, "admin/api/token_created.html", context, headers={"Cache-Control": "no-store"})

    def has_change_permission(self, request: HttpRequest, obj: AuthToken | None = None) -> bool:
        return False
