"""Users in the admin: nobody there becomes somebody who may do more."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

MANAGES = ["view_user", "add_user", "change_user", "delete_user", "view_group", "add_group", "change_group"]


@pytest.fixture
def manager(staff: User, settings: Any) -> Client:
    """Staff who manage users, and may not act for them."""
    settings.WHITENOISE_AUTOREFRESH = True
    staff.user_permissions.set(Permission.objects.filter(codename__in=[*MANAGES, "view_order"]))
    client = Client()
    client.force_login(staff)
    return client


def form_of(client: Client, user: User) -> dict[str, Any]:
    """What the user's form would send if nothing in it were touched, and everything that may not be touched."""
    page = client.get(f"/admin/auth/user/{user.pk}/change/")
    form = page.context["adminform"].form
    sent = {name: form[name].value() or "" for name in form.fields if name not in ("password", "groups")}
    every = Permission.objects.values_list("pk", flat=True)
    ranks = {"is_staff": "on", "is_superuser": "on", "user_permissions": list(every)}
    return {**sent, "is_active": "on", "date_joined_0": "2026-01-01", "date_joined_1": "12:00:00", **ranks}


@pytest.mark.parametrize("who", ["staff", "alice"])
def test_who_changes_users_hands_out_no_permission(manager: Client, staff: User, alice: User, who: str):
    user = User.objects.get(username=who)
    before = user.get_all_permissions()
    answer = manager.post(f"/admin/auth/user/{user.pk}/change/", {**form_of(manager, user), "first_name": "A."})
    assert answer.status_code == 302
    fresh = User.objects.get(pk=user.pk)
    assert fresh.first_name == "A."
    assert (fresh.is_superuser, fresh.is_staff, fresh.get_all_permissions()) == (False, who == "staff", before)


@pytest.mark.parametrize("more", ["is_superuser", "permission", "not active"])
def test_who_changes_users_leaves_alone_who_may_do_more(manager: Client, bob: User, more: str):
    bob.is_superuser = more == "is_superuser"
    bob.is_active = more != "not active"
    bob.save()
    if more == "permission":
        bob.user_permissions.add(Permission.objects.get(codename="change_order"))
    for page, form in (
        ("change/", {"username": "bob", "is_active": "on"}),
        ("password/", {"password1": "a new passw0rd", "password2": "a new passw0rd", "usable_password": "true"}),
        ("delete/", {"post": "yes"}),
    ):
        assert manager.post(f"/admin/auth/user/{bob.pk}/{page}", form).status_code == 403
    assert User.objects.get(pk=bob.pk).password == bob.password


def test_the_password_of_a_customer_is_set_by_who_may_act_for_customers(manager: Client, staff: User, alice: User):
    form = {"password1": "a new passw0rd", "password2": "a new passw0rd", "usable_password": "true"}
    assert manager.post(f"/admin/auth/user/{alice.pk}/password/", form).status_code == 403
    staff.user_permissions.add(Permission.objects.get(codename="issue_ticket"))
    assert manager.post(f"/admin/auth/user/{alice.pk}/password/", form).status_code == 302
    assert User.objects.get(pk=alice.pk).check_password("a new passw0rd")


def test_groups_are_made_by_superusers(manager: Client, staff: User):
    group = Group.objects.create(name="desk")
    staff.groups.add(group)
    every = list(Permission.objects.values_list("pk", flat=True))
    for page in ("add", f"{group.pk}/change"):
        assert manager.post(f"/admin/auth/group/{page}/", {"name": "desk", "permissions": every}).status_code == 403
    assert not group.permissions.exists()


def test_a_superuser_hands_out_what_there_is(admin_client: Client, alice: User):
    answer = admin_client.post(f"/admin/auth/user/{alice.pk}/change/", form_of(admin_client, alice))
    assert answer.status_code == 302
    assert User.objects.get(pk=alice.pk).is_superuser


@pytest.mark.parametrize("name", ["o'brien@example.ie", "auth0|5f7c", "DOMAIN\\bob", "gid://shopify/Customer/1"])
def test_an_account_may_be_called_as_the_shop_calls_it(admin_client: Client, name: str):
    new = {"password1": "a new passw0rd", "password2": "a new passw0rd", "usable_password": "true"}
    assert admin_client.post("/admin/auth/user/add/", {"username": name, **new}).status_code == 302
    user = User.objects.get(username=name)
    sent = {**form_of(admin_client, user), "first_name": "B."}
    assert admin_client.post(f"/admin/auth/user/{user.pk}/change/", sent).status_code == 302
    assert User.objects.get(username=name).first_name == "B."
    # A longer name than the column has, a control character, and what differs only by case.
    for other in ("\ufb03" * 100, "a\u200bb", name.upper()):
        answer = admin_client.post("/admin/auth/user/add/", {"username": other, **new})
        assert answer.context["adminform"].form.errors.keys() == {"username"}


def test_an_account_is_renamed_to_no_name_that_is_taken(admin_client: Client, alice: User, bob: User):
    for name in ("alice", "ALICE", "\uff41lice"):
        answer = admin_client.post(
            f"/admin/auth/user/{bob.pk}/change/", {**form_of(admin_client, bob), "username": name}
        )
        assert answer.context["adminform"].form.errors.keys() == {"username"}
    sent = {**form_of(admin_client, bob), "username": "BOB"}
    assert admin_client.post(f"/admin/auth/user/{bob.pk}/change/", sent).status_code == 302
    assert User.objects.get(pk=bob.pk).get_username() == "BOB"
