"""A caller of the API for each of the cast, and an order of alice's to ask for."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser

from orders import services
from orders.models import Order
from tests.api.client import Api


@pytest.fixture(autouse=True)
def _hash_passwords_fast(settings: Any) -> None:
    """The cast is made anew for each test, and a password hash is slow on purpose."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def as_alice(alice: AbstractUser) -> Api:
    return Api(alice)


@pytest.fixture
def as_bob(bob: AbstractUser) -> Api:
    return Api(bob)


@pytest.fixture
def as_staff(staff: AbstractUser) -> Api:
    return Api(staff)


@pytest.fixture
def as_nobody() -> Api:
    return Api(None)


@pytest.fixture
def order(alice: AbstractUser) -> Order:
    """SO-1 of alice's, pending, at version 1."""
    return services.create_order(number="SO-1", customer="alice")


@pytest.fixture
def many_orders(alice: AbstractUser) -> Callable[[int], list[Order]]:
    """Makes that many orders of alice's: SO-0, SO-1, ..."""
    return lambda count: [services.create_order(number=f"SO-{n}", customer="alice") for n in range(count)]
