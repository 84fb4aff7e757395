"""Threads that keep their connections, and renew them in time."""

from __future__ import annotations

import pytest
from django.db import connection

from notifications import database as database_module
from notifications.database import DatabaseThreads
from tests.polling import apoll


@pytest.mark.usefixtures("transactional_db")
async def test_a_connection_that_is_used_without_a_pause_is_renewed_all_the_same(monkeypatch: pytest.MonkeyPatch):
    """A loop that asks every second keeps no connection beyond CONN_MAX_AGE."""
    monkeypatch.setattr(database_module, "TRUSTED_SECONDS", 0.05)
    threads = DatabaseThreads("test")

    def in_use() -> object:
        connection.settings_dict["CONN_MAX_AGE"] = 0.01
        connection.ensure_connection()
        return connection.connection

    before = await threads.run(in_use)

    async def is_another() -> bool:
        return await threads.run(in_use) is not before

    await apoll(is_another, saying="another connection", every=0.01)
    await threads.close()
