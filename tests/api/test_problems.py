"""When it is not the caller's fault: the database is away, or we have a bug. The answer is a problem all the same."""

import json
import logging
from collections.abc import Iterator
from copy import deepcopy
from io import StringIO
from logging.config import DictConfigurator
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.signals import got_request_exception
from django.db import connection
from django.test import Client

from orders import services
from orders.models import Order
from tests.api.client import Answer, Api
from tests.process import reserve_port


@pytest.fixture
def no_database(transactional_db: None, as_staff: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From here on nobody listens where the database was."""
    connection.close()
    with reserve_port() as nobody, monkeypatch.context() as patch:
        for name, value in {"HOST": "127.0.0.1", "PORT": str(nobody.getsockname()[1])}.items():
            patch.setitem(connection.settings_dict, name, value)
        yield
    connection.close()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a file is not away")
def test_a_token_cannot_be_checked_without_the_database(as_staff: Api, no_database: None):
    answer = as_staff.get("orders")
    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a file is not away")
@pytest.mark.parametrize("path", ["/api/v1/orders", "/"])
def test_a_session_cannot_be_read_without_the_database(request: pytest.FixtureRequest, path: str):
    client = Client(raise_request_exception=False)
    request.getfixturevalue("transactional_db")
    client.force_login(request.getfixturevalue("alice"))
    request.getfixturevalue("no_database")
    answer = Answer(client.get(path))
    assert (answer.status, answer.code) == (503, "database_unavailable")


@pytest.mark.parametrize("debug", [True, False])
def test_a_bug_of_ours_is_a_problem_and_reported_where_bugs_are(
    alice: AbstractUser, settings: Any, monkeypatch: pytest.MonkeyPatch, debug: bool
):
    settings.DEBUG = debug
    reported: list[Any] = []

    def report(**details: Any) -> None:
        reported.append(details)

    def broken(user: Any) -> Any:
        raise LookupError("a bug")

    monkeypatch.setattr("api.views.orders_visible_to", broken)
    got_request_exception.connect(report)
    try:
        api = Api(alice)
        api.client = Client(raise_request_exception=False)
        answer = api.get("orders")
    finally:
        got_request_exception.disconnect(report)
    assert (answer.status, answer.code) == (500, "internal_server_error")
    assert "a bug" not in answer.content.decode()
    assert len(reported) == 1


def test_an_order_that_is_gone_by_the_time_of_its_update_is_not_found(as_staff: Api, order: Order, monkeypatch: Any):
    update = services.update_order

    def gone_meanwhile(**arguments: Any) -> Any:
        Order.objects.filter(pk=order.pk).delete()
        return update(**arguments)

    monkeypatch.setattr(services, "update_order", gone_meanwhile)
    assert as_staff.patch("orders/SO-1", {"status": "shipped"}).code == "not_found"


def test_every_call_of_the_api_is_logged_with_its_id(as_nobody: Api, settings: Any):
    written = StringIO()
    handler = logging.StreamHandler(written)
    configurator = DictConfigurator(deepcopy(settings.LOGGING))
    handler.setFormatter(configurator.configure_formatter(configurator.config["formatters"]["json"]))
    handler.addFilter(configurator.configure_filter(configurator.config["filters"]["request_id"]))
    logger = logging.getLogger("config.request_id")
    logger.addHandler(handler)
    try:
        as_nobody.get("no%0athing?token=secret", X_Request_ID="trace-1")
    finally:
        logger.removeHandler(handler)
    line = json.loads(written.getvalue())
    assert (line["request_id"], line["level"]) == ("trace-1", "INFO")
    assert line["message"] == "GET /api/v1/no%0Athing 404"


def test_both_handlers_of_the_log_know_the_id(settings: Any):
    assert all("request_id" in handler["filters"] for handler in settings.LOGGING["handlers"].values())
    assert all("%(request_id)s" in formatter["format"] for formatter in settings.LOGGING["formatters"].values())
