"""A ticket ends with the credential that issued it: unused, used, and whoever it was issued for."""

from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken

from notifications.access import credentials, expiry, tickets
from notifications.access.credentials import Credential
from notifications.access.models import Revocation, Ticket
from notifications.delivery import tail
from tests.database import OpenTransaction, elsewhere, on_postgres
from tests.notifications.conftest import Database, following, published_to, running


def token_of(user: User, lasts: timedelta | None = None) -> tuple[AuthToken, Credential]:
    token, _ = AuthToken.objects.create(user, expiry=lasts)
    return token, credentials.of_token(token, timezone.now())


def ended(credential: Credential) -> bool:
    """Whether a socket that was opened with it is closed by what the tail check finds."""
    revoked = tail.changes_since(None).revoked
    theirs = [found for found in revoked if found.user_id == str(credential.user_id)]
    return any(
        credential.key.startswith(found.key) and credential.checked_at.timestamp() <= found.at for found in theirs
    )


@pytest.mark.django_db(transaction=True)
def test_what_a_deleted_token_has_issued_for_others_ends_and_nothing_else(alice: User, bob: User, staff: User):
    token, by = token_of(staff)
    _, by_another = token_of(staff)
    unused = tickets.issue(alice.pk, by=by).ticket
    opened = [tickets.redeem(tickets.issue(user.pk, by=by).ticket) for user in (alice, bob)]
    others = [
        tickets.redeem(tickets.issue(alice.pk, by=by_another).ticket),
        tickets.redeem(tickets.issue(alice.pk).ticket),
        token_of(alice)[1],
    ]
    still_unused = tickets.issue(alice.pk, by=by_another).ticket
    token.delete()
    assert tickets.redeem(unused) is None
    assert [credential and ended(credential) for credential in opened] == [True, True]
    assert [credential and ended(credential) for credential in others] == [False, False, False]
    assert tickets.redeem(still_unused) is not None


def test_what_ends_the_issued_sockets_is_written_in_the_transaction_that_ends_the_token(alice: User, staff: User):
    token, by = token_of(staff)
    opened = tickets.redeem(tickets.issue(alice.pk, by=by).ticket)
    token.delete()  # the test's transaction never commits
    assert opened is not None
    assert Revocation.objects.filter(user_id=alice.pk, key=opened.key).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["deactivate", "delete"])
def test_what_a_user_has_issued_ends_with_the_user(way: str, alice: User, staff: User):
    _, by = token_of(staff)
    opened = tickets.redeem(tickets.issue(alice.pk, by=by).ticket)
    unused = tickets.issue(alice.pk, by=by).ticket
    if way == "delete":
        staff.delete()
    else:
        staff.is_active = False
        staff.save()
    assert opened is not None
    assert ended(opened)
    assert tickets.redeem(unused) is None


@pytest.mark.django_db(transaction=True)
def test_a_new_password_of_the_users_own_ends_no_socket_that_another_opened_for_them(alice: User, staff: User):
    session = Credential(staff.pk, "staff", "session:staffs", None, timezone.now())
    opened = tickets.redeem(tickets.issue(alice.pk, by=session).ticket)
    alice.set_password("another")
    alice.save()
    assert opened is not None
    assert not ended(opened)


@on_postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("used", ["used", "unused"])
def test_a_ticket_that_is_issued_while_its_token_is_being_deleted_ends_too(used: str, alice: User, staff: User):
    token, by = token_of(staff)
    with elsewhere() as other:
        deleting = OpenTransaction(other, token.delete)
        ticket = tickets.issue(alice.pk, by=by).ticket
        opened = tickets.redeem(ticket) if used == "used" else None
        deleting.commit()
    assert tickets.redeem(ticket) is None
    assert opened is None or ended(opened)


@pytest.mark.django_db(transaction=True)
def test_a_ticket_that_is_issued_after_its_token_was_deleted_is_none(alice: User, staff: User):
    token, by = token_of(staff)
    token.delete()
    assert tickets.redeem(tickets.issue(alice.pk, by=by).ticket) is None


def test_the_earlier_of_both_expiries_counts(alice: User, staff: User, settings: Any):
    settings.TICKET_CONNECTION_SECONDS = 3600
    for lasts, expected in ((timedelta(seconds=90), 90), (timedelta(days=1), 3600), (None, 3600)):
        _, by = token_of(staff, lasts)
        credential = tickets.redeem(tickets.issue(alice.pk, by=by).ticket)
        assert credential is not None
        assert credential.expires_at is not None
        assert abs((credential.expires_at - timezone.now()).total_seconds() - expected) < 30


def test_a_ticket_is_no_longer_good_than_its_issuer(alice: User, staff: User):
    _, by = token_of(staff, timedelta(seconds=5))
    issued = tickets.issue(alice.pk, by=by)
    assert issued.expires_at == by.expires_at
    Ticket.objects.update(expires_at=timezone.now())
    assert tickets.redeem(issued.ticket) is None


def test_a_used_ticket_is_kept_while_its_connection_may_last(alice: User, settings: Any):
    settings.TICKET_CONNECTION_SECONDS = 60
    ticket = tickets.issue(alice.pk).ticket
    assert tickets.redeem(ticket) is not None
    assert tickets.redeem(ticket) is None
    expiry.clean_up()
    assert Ticket.objects.count() == 1
    Ticket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    expiry.clean_up()
    assert Ticket.objects.count() == 0


@pytest.mark.usefixtures("serving")
async def test_the_sockets_of_a_revoked_issuers_tickets_are_closed_by_the_hint(
    alice: User, staff: User, database: Database
):
    from channels.layers import InMemoryChannelLayer

    layer = InMemoryChannelLayer()
    token, by = await database(token_of, staff)
    issued = await database(lambda: tickets.issue(alice.pk, by=by))
    credential = await database(tickets.redeem, issued.ticket)
    with published_to(layer):
        async with running(layer, tail_seconds=3600) as hub, following(hub, alice, credential=credential) as opened:
            await database(token.delete)
            assert await opened.closed() == 4502


@pytest.mark.django_db
def test_tickets_that_come_together_give_each_its_own_user_once(alice: User, bob: User, staff: User):
    hers, his, staffs = (tickets.issue(user.pk).ticket for user in (alice, bob, staff))
    tickets.redeem(staffs)
    found = tickets.redeem_all([hers, "none", his, hers, staffs])
    assert [credential and credential.username for credential in found] == ["alice", None, "bob", None, None]
    assert tickets.redeem_all([his, hers]) == [None, None]


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_tickets_come_through_while_some_of_them_are_being_deleted(alice: User, bob: User):
    hers, his = tickets.issue(alice.pk).ticket, tickets.issue(bob.pk).ticket
    with elsewhere() as other:
        deleting = OpenTransaction(other, lambda: Ticket.objects.filter(user_id=bob.pk).delete())
        found = tickets.redeem_all([his, hers])
        deleting.commit()
    assert [credential and credential.username for credential in found] == [None, "alice"]


# Sessions.


def logged_in(user: User) -> Session:
    client = Client()
    client.force_login(user)
    return Session.objects.get(session_key=client.session.session_key)


def test_a_session_expires_when_it_was_saved_to_expire(alice: User):
    session = logged_in(alice)
    saved_long_ago = timezone.now() + timedelta(hours=1)
    Session.objects.update(expire_date=saved_long_ago)
    credential = credentials.from_session(session.session_key)
    assert credential is not None
    assert credential.expires_at == saved_long_ago
    Session.objects.update(expire_date=timezone.now())
    assert credentials.from_session(session.session_key) is None


def test_sessions_that_come_together_give_each_its_own_user(alice: User, bob: User, staff: User, settings: Any):
    hers, his, staffs, elsewheres, nobodys = (logged_in(user) for user in (alice, bob, staff, alice, bob))
    User.objects.filter(pk=staff.pk).update(is_active=False)
    rewrite(elsewheres, _auth_user_backend="another.project.Backend")
    rewrite(nobodys, _auth_user_id="no-number")
    asked = [hers, his, staffs, elsewheres, nobodys, hers]
    found = credentials.from_sessions([session.session_key for session in asked] + ["unknown"])
    names = [credential and credential.username for credential in found]
    assert names == ["alice", "bob", None, None, None, "alice", None]


def rewrite(session: Session, **data: str) -> None:
    """Put something else into what a session holds."""
    Session.objects.save(session.session_key, session.get_decoded() | data, session.expire_date)


def test_a_back_end_of_the_projects_own_says_who_a_session_is(alice: User, bob: User, settings: Any):
    session = logged_in(alice)
    settings.AUTHENTICATION_BACKENDS = [f"{Choosy.__module__}.{Choosy.__name__}"]
    rewrite(session, _auth_user_backend=settings.AUTHENTICATION_BACKENDS[0])
    assert credentials.from_session(session.session_key) is None
    Choosy.knows = [alice.pk]
    assert credentials.from_session(session.session_key) is not None


class Choosy(ModelBackend):
    """Finds those whom it knows."""

    knows: ClassVar[list[Any]] = []

    def get_user(self, user_id: Any) -> Any:
        return super().get_user(user_id) if user_id in self.knows else None


def test_what_has_expired_is_cleaned_up_and_not_revoked(alice: User):
    logged_in(alice)
    token_of(alice)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    AuthToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert expiry.clean_up() >= 2
    assert not Revocation.objects.exists()


def test_a_session_that_ends_before_its_time_is_revoked(alice: User):
    session = logged_in(alice)
    key = credentials.session_key_of(session.session_key)
    session.delete()
    assert [row.key for row in Revocation.objects.all()] == [key]


def test_a_handshake_with_a_session_of_an_old_password_changes_no_session(alice: User):
    session = logged_in(alice)
    User.objects.update(password="!another")
    assert credentials.from_session(session.session_key) is None
    assert Session.objects.filter(session_key=session.session_key).exists()
    assert not Revocation.objects.exists()
