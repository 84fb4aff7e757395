"""Whoever is forgotten is let go of at once; and what is appended meanwhile goes too."""

import pytest
from channels.layers import InMemoryChannelLayer
from django.contrib.auth.models import Group, User

from notifications.log import stream
from notifications.personal import forgetting, tables
from notifications.personal.export import export
from notifications.personal.tables import Table
from tests.database import OpenTransaction, elsewhere, on_postgres, somebody_waits_for_a_lock
from tests.notifications.conftest import Database, event, following, numbers, published_to, running, tell
from tests.polling import poll


@pytest.mark.usefixtures("serving")
async def test_the_sockets_of_a_forgotten_user_are_closed(alice: User, bob: User, database: Database):
    layer = InMemoryChannelLayer()
    with published_to(layer):
        async with (
            running(layer, tail_seconds=3600) as hub,
            following(hub, bob) as stays,
            following(hub, alice) as opened,
        ):
            await database(forgetting.forget, alice)
            assert await opened.closed() == 4502
            await database(tell, bob)
            await stays.gets([1])


@pytest.mark.django_db
def test_a_forgotten_user_has_no_name_no_rights_and_an_empty_stream(alice: User):
    alice.groups.add(Group.objects.create(name="readers"))
    tell(alice, 3)
    forgetting.forget(alice)
    nobody = User.objects.get(pk=alice.pk)
    assert nobody.username.startswith(forgetting.FORGOTTEN)
    assert (nobody.email, nobody.is_active, nobody.has_usable_password(), nobody.groups.count()) == (
        "",
        False,
        False,
        0,
    )
    assert numbers(alice) == []
    assert stream.position(alice.pk).unread == 0
    tell(nobody)
    assert numbers(alice) == [4], "what refers to the user goes on"


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_a_notification_that_is_being_appended_is_waited_for_and_goes_too(alice: User):
    with elsewhere() as other, elsewhere() as third:
        writing = OpenTransaction(other, lambda: stream.append([event(alice, "alice lives here")]))
        forgotten = third.begin(lambda: forgetting.forget(alice))
        poll(lambda: forgotten.done() or somebody_waits_for_a_lock(), saying="somebody who waits")
        writing.commit()
        assert forgotten.result()["notifications.Notification"] == 1
    assert numbers(alice) == []


@pytest.mark.django_db
def test_a_user_of_many_rows_is_exported_row_by_row(alice: User):
    tell(alice, 1200)
    pieces = list(export(alice))
    assert len(pieces) > 1200
    assert max(map(len, pieces)) < 1000


@pytest.mark.django_db
def test_a_table_is_declared_once():
    with pytest.raises(ValueError, match="twice"):
        tables.declare(Table(model="notifications.stream"))
