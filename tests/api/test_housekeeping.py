"""Whoever runs no beat runs one command, and it does all that beat would do."""

from datetime import timedelta
from io import StringIO
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.utils import timezone
from knox.models import AuthToken

from api import idempotency
from api.models import IdempotencyKey, TokenName
from tests.api.client import Api


def test_the_command_does_all_that_beat_would(as_staff: Api, alice: Any):
    token, _ = AuthToken.objects.create(alice, expiry=timedelta(seconds=-1))
    TokenName.objects.create(token=token, name="warehouse")
    as_staff.post("orders", {"number": "SO-9", "customer": "alice"}, Idempotency_Key="old")
    IdempotencyKey.objects.update(created_at=timezone.now() - idempotency.LIFETIME)
    said = StringIO()
    call_command("housekeeping", stdout=said)
    assert not IdempotencyKey.objects.exists()
    assert not AuthToken.objects.filter(user=alice).exists()
    assert {line.split(":")[0] for line in said.getvalue().splitlines()} == settings.CELERY_BEAT_SCHEDULE.keys()
