"""The shop's own numbers and names over the wire, straight to the server and through nginx, from several clients."""

import http.client
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.deployment import Deployment, Web
from tests.polling import PATIENCE
from tests.process import ROOT, Process

NUMBERS = [
    "#1001",
    "INV/2024/001",
    "R-2024 0001",
    "Ö-17",
    "A:1",
    "(17)",
    "17+1",
    "007",
    "100%",
    "a%2Fb",
    "a?b=c&d;e",
    "DOMAIN\\17",
    "o'brien!*~",
    "注文/📦",
]
CUSTOMER = "gid://shopify/Customer/o'brien|Ö"
#: Where programs are, those of administrators too.
PATH = f"/usr/sbin{os.pathsep}{os.environ.get('PATH', os.defpath)}"

#: A client in JavaScript: finds an order, changes it, and reads its history.
SCRIPT = """
const [site, token, ...numbers] = process.argv.slice(1);
const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
for (const number of numbers) {
  const address = `${site}/api/v1/orders/${encodeURIComponent(number)}`;
  const found = await (await fetch(address, { headers })).json();
  const body = JSON.stringify({ carrier: `of ${number}` });
  const changed = await (await fetch(address, { method: "PATCH", headers, body })).json();
  const history = await (await fetch(`${address}/history`, { headers })).json();
  console.log(JSON.stringify([found.number, changed.number, changed.carrier, history.status === undefined]));
}
"""


class Nginx(Process):
    """nginx with the configuration that stands in deploy/, as far as it is about what is passed on."""

    name = "nginx"

    def __init__(self, binary: str, web: Web) -> None:
        super().__init__()
        self.binary = binary
        text = (ROOT / "deploy" / "nginx.conf").read_text()
        http_part = text[: text.rindex("server {")]  # the last one answers http, and sends everybody on to https
        http_part = re.sub(r" *(listen \[::\]:443|ssl_certificate)[^;]*;\n", "", http_part)
        http_part = http_part.replace("listen 443 ssl;", f"listen 127.0.0.1:{self.port};")
        http_part = http_part.replace("127.0.0.1:8000", f"127.0.0.1:{web.port}")
        here = self.folder
        (here / "nginx.conf").write_text(
            f"{'user root;' if os.geteuid() == 0 else ''} daemon off; pid {here}/pid; error_log {here}/errors;\n"
            "events {}\n"
            f"http {{ access_log off; client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;\n"
            f"fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n{http_part} }}\n"
        )

    def command(self) -> list[str]:
        return [self.binary, "-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "errors")]

    def ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@pytest.fixture(params=["server", "nginx"])
def site(request: pytest.FixtureRequest, web: Web) -> Iterator[str]:
    """The address at which clients come."""
    if request.param == "server":
        yield web.url
        return
    binary = shutil.which("nginx", path=PATH)
    if binary is None:
        pytest.skip("nginx is not installed")
    with Nginx(binary, web) as nginx:
        yield f"http://127.0.0.1:{nginx.port}"


def call(site: str, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any, Any]:
    """One request whose path goes out as it is written; the status, the headers and the JSON of the answer."""
    connection = http.client.HTTPConnection(urlsplit(site).netloc, timeout=PATIENCE)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())
    finally:
        connection.close()


def test_an_order_is_reached_by_the_shops_own_number(site: str, deployment: Deployment):
    token = deployment.token("staff")
    numbers = [f"{number} {urlsplit(site).port}" for number in NUMBERS]
    for number in numbers:
        status, headers, created = call(site, token, "POST", "/api/v1/orders", {"number": number, "customer": CUSTOMER})
        assert (status, created["number"], created["customer"]) == (201, number, CUSTOMER)
        by_itself = quote(number, safe="")
        assert headers["Location"] == "/api/v1/orders/" + quote(number, safe="!*'()")
        # As encodeURIComponent has it, with everything encoded, and with a bare slash.
        for path in (headers["Location"], f"/api/v1/orders/{by_itself}", f"/api/v1/orders/{quote(number)}"):
            assert call(site, token, "GET", path)[2] == created
        status, _, changed = call(site, token, "PATCH", headers["Location"], {"status": "shipped"})
        assert (status, changed["number"], changed["status"]) == (200, number, "shipped")
        assert call(site, token, "GET", f"{headers['Location']}/history")[0] == 200
        # A page of somebody who is not logged in comes back to where they wanted to go.
        page = httpx.get(f"{site}/orders/{by_itself}")
        assert page.status_code == httpx.codes.FOUND
    listed = call(site, token, "GET", f"/api/v1/orders?limit=200&customer={quote(CUSTOMER, safe='')}")[2]["results"]
    assert set(numbers) <= {order["number"] for order in listed}
    if node := shutil.which("node"):
        command = [node, "--input-type=module", "-e", SCRIPT, "--", site, token, *numbers]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert told == [[number, number, f"of {number}", True] for number in numbers]


@pytest.mark.parametrize("path", ["A%2F%2FB", "A//B", "SO-1%0A", "%FF", "INV/2024/history", "%2e%2e%2fadmin"])
def test_what_is_no_number_is_a_problem(site: str, deployment: Deployment, path: str):
    status, headers, problem = call(site, deployment.token("staff"), "GET", f"/api/v1/orders/{path}")
    assert (status, headers["Content-Type"].partition(";")[0]) == (404, "application/problem+json")
    assert problem["code"] == "not_found"
