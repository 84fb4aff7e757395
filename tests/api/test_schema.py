"""The API does what its document says: generated requests find no 5xx and no answer that the document does not know."""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import AbstractUser
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from knox.models import AuthToken
from rest_framework import serializers
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from api import documents
from orders.models import Order
from orders.selectors import snapshot
from tests.api.client import Api
from tests.api.test_access import patterns
from tests.openapi import tools

#: What no schema can say, by the code or the pointer of an error, and a request that fits may be refused for: rules of
#: the business, times that no database has, addresses that lead nowhere, cursors that no page gave, names that nobody
#: can print. In If-Match and If-None-Match schemathesis 4.32 sends 0, whatever the pattern is.
RULES = {"occurred_in_future", "note_required", "without_status", "unknown_customer", "reserved", "max_decimal_places"}
RULES |= {
    "max_digits",
    "overflow",
    "tracking_url",
    "cursor",
    "If-Match",
    "If-None-Match",
    "metadata",
    "customer",
    "number",
}


def valid_data_is_accepted(ctx: Any, response: Any, case: schemathesis.Case) -> bool | None:
    """schemathesis' check, without what `RULES` says and what depends on other requests (412, 422)."""
    if response.status_code in (412, 422):
        return None
    if response.status_code == 400:
        errors = response.json()["errors"]
        if errors and all(RULES & {error["code"], *error["pointer"].split("/")} for error in errors):
            return None
    accepted: bool | None = positive_data_acceptance(ctx, response, case)
    return accepted


def invalid_data_is_refused(ctx: Any, response: Any, case: schemathesis.Case) -> bool | None:
    """schemathesis' check, for which too much (413, 414) is no refusal; of a batch each line is refused by itself."""
    if response.status_code in (413, 414):
        return None
    if case.path.endswith("/batch") and response.status_code == 200 and b'"refused":0' not in response.content:
        return None
    refused: bool | None = negative_data_rejection(ctx, response, case)
    return refused


#: These two in place of schemathesis' own; all others are its own.
REPLACED: list[Any] = [positive_data_acceptance, negative_data_rejection]
OURS: list[Any] = [valid_data_is_accepted, invalid_data_is_refused]

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


@pytest.fixture(autouse=True)
def _nothing_is_collected(settings: Any) -> None:
    """As in production before `collectstatic`: a page that needs a static file cannot be made."""
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "config.storage.StaticFilesStorage"}}


@pytest.fixture
def token(staff: AbstractUser, order: Order) -> str:
    """Of staff, whose requests get further than anybody's."""
    _, secret = AuthToken.objects.create(staff)
    return str(secret)


@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_answers_as_it_is_described(case: schemathesis.Case, token: str):
    if case.path_parameters and "number" in case.path_parameters and len(case.path_parameters["number"]) % 2:
        # Made-up numbers alone would find nothing but 404.
        case.path_parameters["number"] = "SO-1"
    headers = {"Authorization": f"Bearer {token}"}
    case.call_and_validate(headers=headers, excluded_checks=REPLACED, additional_checks=OURS)


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


def test_redocly_and_spectral_find_nothing(document: dict[str, Any], tmp_path: Path):
    tools.needed()
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    assert tools.node("lint.mjs", tmp_path / "openapi.json").splitlines() == []


@pytest.fixture
def document(as_nobody: Api) -> dict[str, Any]:
    described: dict[str, Any] = as_nobody.get("schema").json
    return described


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for described in document["paths"].values():
        yield from described.values()


def test_the_document_is_openapi_3_1_and_says_whose_it_is(document: dict[str, Any]):
    assert document["openapi"] == "3.1.0"
    assert {"/api/v1/orders", "/api/v1/orders/{number}", "/api/v1/orders/batch"} <= document["paths"].keys()
    assert '"nullable"' not in json.dumps(document)
    assert document["servers"][0]["url"] == "/"
    assert document["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    assert {tag for operation in operations(document) for tag in operation["tags"]} == described


def test_every_operation_tells_what_it_does_and_what_may_go_wrong(document: dict[str, Any]):
    for operation in operations(document):
        assert operation["summary"]
        assert operation["description"]
        needed = {"400", "401", "429", "500", "503"}
        if "requestBody" in operation:
            needed |= {"408", "413", "415"}
        assert needed <= operation["responses"].keys(), operation["operationId"]
    for status, headers in {"408": {"Retry-After"}, "503": {"Retry-After"}, "412": {"ETag"}}.items():
        assert document["components"]["responses"][f"Problem{status}"]["headers"].keys() == headers
    limited = document["components"]["responses"]["Problem429"]["headers"].keys()
    assert limited == {"Retry-After", "RateLimit", "RateLimit-Policy"}


def test_making_the_document_warns_of_nothing(capsys: pytest.CaptureFixture[str]):
    documents.openapi.__wrapped__()
    assert capsys.readouterr().err == ""


def test_a_body_that_is_needed_says_so(document: dict[str, Any]):
    optional = {
        operation["operationId"]
        for operation in operations(document)
        if "requestBody" in operation and not operation["requestBody"].get("required")
    }
    assert optional == {"issue_ticket"}  # whose caller may mean themselves
    assert document["components"]["schemas"]["BatchRequest"]["oneOf"] == [
        {"required": ["changes"]},
        {"required": ["orders"]},
    ]


def test_nothing_that_is_written_for_readers_of_the_code_is_in_the_document(document: dict[str, Any]):
    described = json.dumps(document)
    rooms = ("api.", "orders.", "notifications.", "config.", "rest_framework.")
    modules = [name for name in sys.modules if name.startswith(rooms)]
    views = [callback.cls for _, pattern in patterns() if hasattr(callback := pattern.callback, "cls")]
    documented = [view.__doc__ for view in views] + [one.__doc__ for one in subclasses(serializers.BaseSerializer)]
    docstrings = [inspect.cleandoc(text) for text in documented if text]
    assert len(docstrings) > 20
    assert [found for found in [*modules, *docstrings] if json.dumps(found)[1:-1] in described] == []


def subclasses(of: Any) -> Iterator[Any]:
    """Those of our own."""
    for one in of.__subclasses__():
        if one.__module__.startswith("api."):
            yield one
        yield from subclasses(one)
