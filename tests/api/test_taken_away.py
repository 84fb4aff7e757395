"""Rights that are taken away, each way there is, while requests run: the API remembers them for a second at most."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.utils import timezone
from knox.models import AuthToken

from notifications.access import memory
from notifications.access.models import Ticket
from orders import services
from tests.api.client import Api
from tests.polling import poll

pytestmark = pytest.mark.django_db(transaction=True)

Way = Callable[[User], object]


def may_view() -> Permission:
    return Permission.objects.get(codename="view_order")


def run(statement: str, user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [user.pk])


def saved(user: User, **fields: object) -> None:
    for name, value in fields.items():
        setattr(user, name, value)
    user.save()


def expired(user: User) -> None:
    token = AuthToken.objects.get(user=user)
    token.expiry = timezone.now() - timedelta(seconds=1)
    token.save()


#: Ways that Django's signals tell of.
TOLD: dict[str, Way] = {
    "the token is deleted": lambda user: AuthToken.objects.filter(user=user).delete(),
    "the token expires": expired,
    "the user is deactivated": lambda user: saved(user, is_active=False),
    "the user is deleted": lambda user: user.delete(),
    "the user is no superuser any more": lambda user: saved(user, is_superuser=False),
    "the permission is taken away": lambda user: user.user_permissions.remove(may_view()),
    "all permissions are taken away": lambda user: user.user_permissions.clear(),
    "the user leaves the group": lambda user: user.groups.clear(),
    "the group loses the user": lambda user: user.groups.get().user_set.remove(user),
    "the group loses the permission": lambda user: user.groups.get().permissions.clear(),
    "the permission loses the group": lambda user: may_view().group_set.remove(user.groups.get()),
    "the group is deleted": lambda user: user.groups.get().delete(),
    "groups are deleted": lambda user: user.groups.all().delete(),
}
#: Ways that nothing tells of.
SILENT: dict[str, Way] = {
    "update() deactivates": lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
    "update() makes no superuser of one": lambda user: User.objects.filter(pk=user.pk).update(is_superuser=False),
    "update() lets the token expire": lambda user: AuthToken.objects.filter(user=user).update(expiry=timezone.now()),
    "bulk_update() deactivates": lambda user: User.objects.bulk_update(
        [User(pk=user.pk, is_active=False)], ["is_active"]
    ),
    "SQL deactivates": lambda user: run("UPDATE auth_user SET is_active = false WHERE id = %s", user),
    "SQL deletes the token": lambda user: run("DELETE FROM knox_authtoken WHERE user_id = %s", user),
    "SQL takes the permission": lambda user: run("DELETE FROM auth_user_user_permissions WHERE user_id = %s", user),
    "SQL takes the membership": lambda user: run("DELETE FROM auth_user_groups WHERE user_id = %s", user),
    "SQL takes the group's permission": lambda user: run(
        "DELETE FROM auth_group_permissions"
        " WHERE group_id IN (SELECT group_id FROM auth_user_groups WHERE user_id = %s)",
        user,
    ),
}


def somebody(way: str) -> User:
    """Somebody who may read alice's order, by what that way takes away."""
    user: User = get_user_model().objects.create_user(way.replace(" ", "-").replace("()", "").replace("'", ""))
    if "superuser" in way:
        saved(user, is_superuser=True)
    elif any(word in way for word in ("group", "membership")):
        group = Group.objects.create(name=way)
        group.permissions.add(may_view())
        user.groups.add(group)
    else:
        user.user_permissions.add(may_view())
    return user


@pytest.fixture
def _order(alice: User) -> None:
    services.create_order(number="SO-1", customer="alice")


@pytest.mark.usefixtures("_order")
def test_the_next_request_is_refused_after_what_this_process_has_taken_away():
    for name, way in TOLD.items():
        user = somebody(name)
        caller = Api(user)
        assert [caller.get("orders/SO-1").status for _ in range(2)] == [200, 200], name
        way(user)
        assert caller.get("orders/SO-1").status in (401, 404), name


@pytest.mark.usefixtures("_order")
def test_no_request_that_begins_a_second_later_has_what_was_taken_without_a_word():
    users = {name: somebody(name) for name in SILENT}
    callers = {name: Api(user) for name, user in users.items()}
    for caller in callers.values():
        assert [caller.get("orders/SO-1").status for _ in range(2)] == [200, 200]
    taken_at: dict[str, float] = {}
    for name, way in SILENT.items():
        way(users[name])
        taken_at[name] = time.monotonic()

    def all_are_refused() -> bool:
        for name, caller in list(callers.items()):
            began_at = time.monotonic()
            if caller.get("orders/SO-1").status == 200:
                assert began_at < taken_at[name] + memory.SECONDS, name
            else:
                del callers[name]
        return not callers

    poll(all_are_refused)


@pytest.mark.usefixtures("_order")
def test_what_is_given_is_had_at_once_and_after_a_second_if_nothing_tells_of_it(bob: User):
    caller = Api(bob)
    assert caller.get("orders/SO-1").status == 404
    bob.user_permissions.add(may_view())
    assert caller.get("orders/SO-1").status == 200
    run("DELETE FROM auth_user_user_permissions WHERE user_id = %s", bob)
    poll(lambda: caller.get("orders/SO-1").status == 404)
    User.objects.filter(pk=bob.pk).update(is_superuser=True)
    poll(lambda: caller.get("orders/SO-1").status == 200)


@pytest.fixture
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is remembered stays as new as it is."""
    monkeypatch.setattr(memory, "_tokens", memory.Memory(seconds=lambda: 0.0))


@pytest.mark.usefixtures("_order", "_time_stands_still")
def test_of_requests_that_follow_one_another_the_first_one_asks_who_calls_and_what_they_may(
    staff: User, django_assert_num_queries: Callable[[int], AbstractContextManager[object]]
):
    caller = Api(staff)
    with django_assert_num_queries(1 + 2 + 1):  # the token with its user, the permissions, the order
        caller.get("orders/SO-1")
    with django_assert_num_queries(1):
        assert caller.get("orders/SO-1").status == 200


@pytest.mark.usefixtures("_time_stands_still")
def test_no_ticket_is_issued_for_a_token_that_is_remembered_and_has_ended(alice: User):
    caller = Api(alice)
    caller.get("orders")
    run("DELETE FROM knox_authtoken WHERE user_id = %s", alice)
    assert caller.post("tickets", {}).status == 401
    assert not Ticket.objects.exists()


def test_what_a_request_does_to_its_user_is_not_remembered(alice: User):
    _, secret = AuthToken.objects.create(alice)
    first = memory.find_token(secret)
    assert first
    first.user.is_superuser = True
    first.user = User(pk=0)
    again = memory.find_token(secret)
    assert again
    assert again.user == alice
    assert not again.user.is_superuser


@pytest.mark.usefixtures("_time_stands_still")
def test_a_token_that_is_remembered_expires_in_time(alice: User):
    token, secret = AuthToken.objects.create(alice, expiry=timedelta(seconds=0.5))

    def has_expired() -> bool:
        asked_at = timezone.now()
        found = memory.find_token(secret)
        assert found is None or asked_at < token.expiry
        return found is None

    poll(has_expired)
