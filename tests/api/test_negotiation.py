"""Which formats a caller may ask for: JSON, however it says so."""

import pytest

from tests.api.client import Api


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "text/html, application/json;q=0.9", "application/*", "text/html, */*;q=0.1"]
)
def test_whoever_takes_json_gets_it(as_alice: Api, accept: str):
    answer = as_alice.get("orders", Accept=accept)
    assert (answer.status, answer.type) == (200, "application/json")


def test_a_caller_that_takes_no_json_is_told(as_alice: Api):
    assert as_alice.get("orders", Accept="text/html").status == 406
