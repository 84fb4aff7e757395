"""One id follows a request through everything that answers it and everything that is logged on its way."""

import uuid

import httpx
import pytest

from tests.deployment import Deployment, Web
from tests.polling import poll

#: Answered by Django, by its middleware, and on the event loop; the last four are refused.
PATHS = ["/login", "/asyncapi.yaml", "/healthz", "/readyz", "/metrics", "/nowhere", "/api/v1/orders", "/api/v1/stream"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_gives_the_id_back(web: Web, path: str):
    answer = httpx.get(web.url + path, headers={"X-Request-ID": "trace-1"})
    assert answer.headers.get_list("X-Request-ID") == ["trace-1"]
    if answer.headers["Content-Type"] == "application/problem+json":
        assert answer.json()["request_id"] == "trace-1"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("given", [[], ["a b"], ["a" * 65], ["ä"], ["one", "two"]])
def test_an_id_that_nobody_could_look_up_is_replaced(web: Web, path: str, given: list[str]):
    answer = httpx.get(web.url + path, headers=[(b"X-Request-ID", one.encode()) for one in given])
    assert uuid.UUID(answer.headers["X-Request-ID"]).version == 4


def test_a_live_stream_gives_the_id_back(web: Web, deployment: Deployment):
    headers = {"Authorization": f"Bearer {deployment.token('alice')}", "X-Request-ID": "trace-2"}
    with httpx.stream("GET", f"{web.url}/api/v1/stream", headers=headers) as answer:
        assert (answer.status_code, answer.headers["X-Request-ID"]) == (200, "trace-2")


def test_what_django_logs_carries_the_id_of_its_request(web: Web):
    made = [httpx.get(f"{web.url}/api/v1/orders").headers["X-Request-ID"] for _ in range(3)]
    httpx.get(f"{web.url}/api/v1/orders", headers={"X-Request-ID": "trace-3"})
    lines = [f"config.request_id [{known}] GET /api/v1/orders 401" for known in (*made, "trace-3")]
    poll(lambda: all(line in web.log() for line in lines), saying=web.log_tail)
