"""Attacks begin where the API's tests do: the same callers, and an order of alice's."""

from tests.api.conftest import as_alice, as_bob, as_nobody, as_staff, order

__all__ = ["as_alice", "as_bob", "as_nobody", "as_staff", "order"]
