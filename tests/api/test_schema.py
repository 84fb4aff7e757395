"""The API does what its document says: generated requests find no 5xx and no answer that the document does not know."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import AbstractUser
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from knox.models import AuthToken
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from orders.models import Order
from orders.selectors import snapshot
from tests.api.client import Api

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]

# The stream is no view of Django's; tests/acceptance/test_over_http.py asks for it.
schema = schemathesis.openapi.from_wsgi("/api/v1/schema", get_wsgi_application()).exclude(path="/api/v1/stream")


@pytest.fixture(autouse=True)
def _keep_the_connection() -> Iterator[None]:
    """A served request closes old connections, the test's own among them; Django's test client prevents it likewise."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def token(staff: AbstractUser, order: Order) -> str:
    """Of staff, whose requests get further than anybody's."""
    _, secret = AuthToken.objects.create(staff)
    return str(secret)


@schema.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_answers_as_it_is_described(case: schemathesis.Case, token: str):
    if case.path_parameters and "number" in case.path_parameters and len(case.path_parameters["number"]) % 2:
        # Made-up numbers alone would find nothing but 404.
        case.path_parameters["number"] = "SO-1"
    case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)


def test_the_document_knows_every_member_of_an_order(as_alice: Api, order: Order):
    described = as_alice.get("schema").json["components"]["schemas"]["Order"]
    assert set(described["properties"]) == set(described["required"]) == set(snapshot(order))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/vnd.oai.openapi+json"),
        ("application/json", "application/json"),
        ("application/vnd.oai.openapi", "application/vnd.oai.openapi"),
    ],
)
def test_the_document_comes_as_json_or_yaml_to_everybody(as_nobody: Api, accept: str, kind: str):
    answer = as_nobody.get("schema", Accept=accept)
    assert answer.status == 200
    assert answer.type.split(";")[0] == kind


def test_the_document_is_openapi_3_1(as_nobody: Api):
    document: dict[str, Any] = as_nobody.get("schema").json
    assert document["openapi"] == "3.1.0"
    assert {"/api/v1/orders", "/api/v1/orders/{number}", "/api/v1/orders/batch"} <= document["paths"].keys()
