"""Keys of users of any type: as texts, as names of groups, as parameters."""

import uuid

import pytest
from channels.layers import InMemoryChannelLayer
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models

from notifications import users
from notifications.hints.publish import group_of

SOME = uuid.UUID("0123456789abcdef0123456789abcdef")


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch):
    """Gives the user model's key another field for this test."""

    def key_by(field: models.Field) -> None:
        field.set_attributes_from_name("id")
        monkeypatch.setattr(get_user_model()._meta, "pk", field)

    return key_by


def test_a_number_is_the_same_text_however_it_was_written():
    assert users.text(5) == users.text("5") == "5"
    assert users.key("5") == 5


@pytest.mark.parametrize("written", [SOME, str(SOME), SOME.hex])
def test_a_uuid_is_the_same_text_however_it_was_written(written: object, keyed):
    keyed(models.UUIDField())
    assert users.text(written) == "01234567-89ab-cdef-0123-456789abcdef"
    assert users.key(written) == SOME


def test_what_can_be_no_key_is_refused():
    with pytest.raises(ValidationError):
        users.key("alice")


@pytest.mark.parametrize("key", ["alice", "alice@example.org", "ærlig", "a" * 99, "with blank", ""])
def test_any_text_has_a_group_that_a_channel_layer_takes(key: str, keyed):
    keyed(models.CharField(max_length=255))
    assert InMemoryChannelLayer().require_valid_group_name(group_of(key))
    assert group_of(key) != group_of("bob")


def test_a_plain_key_is_the_groups_name_as_it_is(keyed):
    assert group_of(7) == "user.7"
    keyed(models.UUIDField())
    assert group_of(SOME) == f"user.{SOME}"
