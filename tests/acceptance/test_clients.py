"""Clients that others have made, and bodies as their libraries send them, against a served Orderwire."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings

from api.documents import openapi
from tests import asyncapi
from tests.deployment import Deployment, Web
from tests.openapi import tools


@pytest.fixture(scope="module")
def document(web: Web, embedded: bool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OpenAPI document as it is served."""
    if embedded:
        pytest.skip("the embedded default serves the same document and the same pages")
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_bytes(httpx.get(f"{web.url}/api/v1/schema", headers={"Accept": "application/json"}).content)
    return path


# Generated clients.


def numbers_of_all(web: Web, token: str) -> list[str]:
    answer = httpx.get(f"{web.url}/api/v1/orders?limit=200", headers={"Authorization": f"Bearer {token}"})
    return [order["number"] for order in answer.json()["results"]]


def test_a_typescript_client_reads_the_first_page_and_the_last(
    web: Web, deployment: Deployment, document: Path, tmp_path: Path
):
    tools.needed()
    for name in ("client.ts", "package.json", "tsconfig.json"):
        shutil.copy(tools.HERE / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(tools.MODULES)
    tools.node(tools.tool("openapi-typescript"), document, "-o", "generated/schema.d.ts", folder=tmp_path)
    tools.node(tools.tool("tsc"), folder=tmp_path)
    token = deployment.token("alice")
    found = json.loads(tools.node("generated/client.js", web.url, token, folder=tmp_path))
    assert found["numbers"] == numbers_of_all(web, token)
    assert len(found["numbers"]) == found["promised"] >= 2
    assert found["first"]["previous"] is found["last"]["next"] is None
    assert found["first"]["next"].startswith(f"{web.url}/api/v1/orders?")
    assert found["last"]["previous"].startswith(f"{web.url}/api/v1/orders?")


def generated_models(document: Path, folder: Path) -> Any:
    """Pydantic's models of the document, as datamodel-code-generator makes them, imported."""
    made = folder / "models.py"
    words: list[str | Path] = [
        "--input",
        document,
        "--input-file-type",
        "openapi",
        "--output",
        made,
        "--formatters",
        "builtin",
    ]
    words += ["--output-model-type", "pydantic_v2.BaseModel", "--target-python-version", "3.11"]
    command = [sys.executable, "-W", "ignore", "-m", "datamodel_code_generator", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    spec = importlib.util.spec_from_file_location("models_of_the_document", made)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_pydantic_client_reads_the_first_page_and_the_last(
    web: Web, deployment: Deployment, document: Path, tmp_path: Path
):
    models = generated_models(document, tmp_path)
    token = deployment.token("alice")
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
        page = models.PaginatedOrderList.model_validate_json(client.get(f"{web.url}/api/v1/orders?limit=1").content)
        assert page.previous is None
        numbers = [order.number for order in page.results]
        while page.next is not None:
            page = models.PaginatedOrderList.model_validate_json(client.get(str(page.next)).content)
            numbers += [order.number for order in page.results]
        assert page.previous is not None
        assert numbers == numbers_of_all(web, token)
        assert len(numbers) >= 2
        refused = models.Problem.model_validate_json(client.get(f"{web.url}/api/v1/orders?limit=0").content)
        assert (refused.status, refused.errors[0].pointer) == (400, "/limit")
        history = client.get(f"{web.url}/api/v1/orders/{numbers[0]}/history").json()
        first = models.StatusChange.model_validate(history[0] if isinstance(history, list) else history["results"][-1])
        assert first.from_status is None


# Bodies in pieces, without a length that is announced.


def chunked(*parts: bytes) -> bytes:
    """A body as HTTP/1.1 sends it in pieces (RFC 9112, 7.1)."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


#: The heads that these libraries send before such a body.
HEADS = {
    ".NET's JsonContent": [
        "Accept: application/json",
        "Transfer-Encoding: chunked",
        "Content-Type: application/json; charset=utf-8",
    ],
    # By Java's own client, which offers HTTP/2.
    "Spring's RestClient": [
        "Connection: Upgrade, HTTP2-Settings",
        "Transfer-encoding: chunked",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
        "Upgrade: h2c",
        "User-Agent: Java-http-client/21.0.4",
        "Content-Type: application/json",
    ],
    "Apache's HttpClient": [
        "Expect: 100-continue",
        "Content-Type: application/json; charset=UTF-8",
        "Transfer-Encoding: chunked",
        "Connection: keep-alive",
        "User-Agent: Apache-HttpClient/5.3 (Java/21.0.4)",
    ],
}


def next_answer(connection: socket.socket) -> tuple[int, str | None, Any]:
    """The status of the answer that comes next, whether it was given before, and its JSON."""
    answer = HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.getheader("Idempotent-Replayed"), json.loads(answer.read())


@pytest.mark.parametrize("library", HEADS)
def test_a_body_in_pieces_is_as_good_as_any_and_sent_twice_is_done_once(web: Web, deployment: Deployment, library: str):
    carrier = library[:20]
    body = json.dumps({"carrier": carrier, "metadata": {"filler": "x" * 3_000}}).encode()
    head = [
        "PATCH /api/v1/orders/SO-1003 HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {deployment.token('staff')}",
        f"Idempotency-Key: {library}",
    ]
    pieces = chunked(body[:1], body[1:2_000], body[2_000:])
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        answers = []
        for _ in range(2):
            connection.sendall("\r\n".join([*head, *HEADS[library], "", ""]).encode() + pieces)
            answers.append(next_answer(connection))
    assert [(status, again) for status, again, _ in answers] == [(200, None), (200, "true")]
    assert answers[0][2] == answers[1][2]
    assert answers[0][2]["carrier"] == carrier


def test_an_offer_to_speak_http2_is_passed_over_again_and_again(web: Web, deployment: Deployment):
    """Java's client makes it, and keeps the connection. Its body may come later than its head."""
    body = b'{"carrier": "DHL"}'
    for length, sent in ((f"Content-Length: {len(body)}", body), ("Transfer-Encoding: chunked", chunked(body))):
        head = [
            "PATCH /api/v1/orders/SO-1003 HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {deployment.token('staff')}",
            "Content-Type: application/json",
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            length,
        ]
        raw = "\r\n".join([*head, "", ""]).encode()
        with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
            for parts in ((raw + sent,), (raw[:90], raw[90:] + sent[:7], sent[7:]), (raw, sent)):
                for part in parts:
                    connection.sendall(part)
                assert next_answer(connection)[0] == 200


STREAMED = """
const [, url, token] = process.argv;
const body = new ReadableStream({
  start(controller) {
    for (const part of ['{"carrier":', '"Node"}']) controller.enqueue(new TextEncoder().encode(part));
    controller.close();
  },
});
const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
const answer = await fetch(`${url}/api/v1/orders/SO-1003`, { method: "PATCH", headers, body, duplex: "half" });
console.log(answer.status, (await answer.json()).carrier);
"""


def test_a_stream_of_nodes_and_a_pipe_into_curl_arrive(web: Web, deployment: Deployment):
    token = deployment.token("staff")
    if shutil.which("node"):
        assert tools.node("--input-type=module", "-e", STREAMED, web.url, token).split() == ["200", "Node"]
    if shutil.which("curl"):
        words = (
            "-sS",
            "-X",
            "PATCH",
            "-T",
            "-",
            "-H",
            "Content-Type: application/json",
            "-H",
            f"Authorization: Bearer {token}",
        )
        done = subprocess.run(
            ["curl", *words, f"{web.url}/api/v1/orders/SO-1003"],
            input='{"carrier": "curl"}',
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert json.loads(done.stdout)["carrier"] == "curl", done.stderr


# The event stream, which never ends, and so is asked for here and not with the other operations.


# Made in the process, before there is a server: a schema is needed to collect its tests.
stream = schemathesis.openapi.from_dict(openapi()).include(path="/api/v1/stream")


@stream.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_stream_answers_as_it_is_described_and_so_is_every_frame(
    case: schemathesis.Case, web: Web, deployment: Deployment
):
    headers = {"Authorization": f"Bearer {deployment.token('alice')}"}
    sent = case.as_transport_kwargs(base_url=web.url, headers=headers)
    with requests.request(**sent, stream=True, timeout=20) as answer:
        read = b""
        if answer.status_code == 200:
            for line in answer.iter_lines():
                read += line + b"\n"
                if line.startswith(b"data: "):
                    frame = json.loads(line.removeprefix(b"data: "))
                    asyncapi.check(frame)
                    if frame["type"] != "notification":
                        break
        else:
            read = answer.content
        answer._content = read
        case.validate_response(answer, headers=headers, transport_kwargs={"headers": headers})
