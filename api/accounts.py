"""Users and groups in the admin: Django's own, in which nobody can give what they do not have.

With Django's, who may change users may make themselves a superuser (its documentation says so). Here only superusers
hand out permissions, and nobody changes an account, or sets its password, that may do more than they.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth import admin as django_admin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse

from notifications.access.delegation import has_all_of, may_act_for
from orders import customers

admin.site.unregister([User, Group])

#: What only a superuser gives.
RANKS = ("is_staff", "is_superuser", "groups", "user_permissions")


class NameForm(forms.BaseModelForm):
    """Takes the names that shops give their customers, of which the user model's own rule refuses many."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "username" in self.fields:
            self.fields["username"].help_text = f"At most {customers.MAX_NAME} printable characters."

    def _get_validation_exclusions(self) -> set[str]:
        """Django's list of the fields that the model is not asked about."""
        exclusions: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # not in its stubs
        return {*exclusions, "username"}

    def clean_username(self) -> str:
        name = customers.spelled(self.cleaned_data["username"])
        customers.check_name(name)
        for other in (customers.called(name), customers.alike(name)):
            if other is not None and other.pk != self.instance.pk:
                message = "There is a user %(name)s, whose name is the same, or differs only by case or spelling."
                raise ValidationError(message, code="unique", params={"name": other.get_username()})
        return name


class NewUserForm(NameForm, AdminUserCreationForm):
    """Django's form for a new user."""


class UserForm(NameForm, UserChangeForm):
    """Django's form for a user."""


@admin.register(User)
class UserAdmin(django_admin.UserAdmin):
    form = UserForm
    add_form = NewUserForm

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        fixed = tuple(super().get_readonly_fields(request, obj))
        return fixed if _is_superuser(request) else (*fixed, *RANKS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or has_all_of(request.user, obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or has_all_of(request.user, obj))

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """A password is a credential like a token: whoever sets it may use it."""
        user = self.get_object(request, unquote(id))
        if user is not None and not may_act_for(request.user, user):
            raise PermissionDenied
        answer: HttpResponse = super().user_change_password(request, id, form_url)
        return answer


@admin.register(Group)
class GroupAdmin(django_admin.GroupAdmin):
    """Permissions by another name, and so for superusers."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and getattr(request.user, "is_superuser", False))
