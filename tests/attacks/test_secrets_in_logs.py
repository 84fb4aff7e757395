"""No secret is ever in a log, whatever LOG_LEVEL is: one canary of each kind goes the way that its kind goes."""

from __future__ import annotations

import json
import re
import secrets
from urllib.parse import quote

import httpx
import pytest
import redis
from websockets.exceptions import WebSocketException

from tests.deployment import Deployment, Web
from tests.servers import with_database
from tests.sockets import frame, socket

LEVELS = ["debug", "info", "warning", "error", "critical"]


class Canaries:
    """Secrets by their kind."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def new(self, kind: str) -> str:
        return self.add(kind, f"canary{secrets.token_hex(12)}")

    def add(self, kind: str, value: str) -> str:
        self.values[kind] = value
        return value

    def found_in(self, text: str) -> list[str]:
        """The kinds that a text gives away. Half of a secret is too much of it."""
        return [kind for kind, value in self.values.items() if value[: len(value) // 2 + 1] in text]


def secret_deployment(deploy: type, canaries: Canaries) -> Deployment:
    """One whose own secrets are canaries."""
    deployment: Deployment = deploy()
    settings = {"SECRET_KEY": canaries.new("SECRET_KEY") * 2, "METRICS_TOKEN": canaries.new("METRICS_TOKEN")}
    if deployment.redis is not None:
        password = canaries.new("password of Redis")
        redis.Redis.from_url(deployment.redis.url).config_set("requirepass", password)
        settings["REDIS_URL"] = deployment.redis.url.replace("redis://", f"redis://:{password}@")
        # PostgreSQL trusts every caller here, and takes any password.
        password = canaries.new("password of PostgreSQL")
        settings["DATABASE_URL"] = deployment.database_url.replace("orderwire@", f"orderwire:{password}@")
    deployment.env |= settings
    return deployment


def issue(web: Web, token: str) -> str:
    answer = httpx.post(f"{web.url}/api/v1/tickets", json={}, headers={"Authorization": f"Bearer {token}"})
    return str(answer.json()["ticket"])


def use_everything_over_http(web: Web, canaries: Canaries, token: str) -> dict[str, str]:
    """Every kind of credential in its place, right and wrong; gives the headers of a browser that is logged in."""
    query = f"?token={canaries.new('a query string')}"
    with httpx.Client(base_url=web.url) as client:
        page = client.get(f"/login{query}")
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert found
        form = {"username": "alice", "csrfmiddlewaretoken": canaries.add("a CSRF token in a form", found[1])}
        canaries.add("a CSRF cookie", client.cookies["orderwire_csrf"])
        assert client.post("/login", data={**form, "password": canaries.new("a wrong password")}).status_code == 200
        # People type it into the wrong field, too.
        mistyped = canaries.new("a password for a name")
        assert client.post("/login", data={**form, "username": mistyped, "password": "x"}).status_code == 200
        assert client.post("/admin/login/", data={**form, "password": canaries.new("a password")}).status_code == 200
        assert client.post("/login", data={**form, "password": "demo"}).status_code == 302
        session = canaries.add("a session", client.cookies["orderwire_session"])
        canaries.add("a known browser", client.cookies["orderwire_device"])
        assert client.get(f"/{query}").status_code == 200
        assert client.get("/api/v1/orders").status_code == 200
        assert client.get(f"/api/v1/orders{query}").status_code == 400
        assert client.post("/updates/read", data={"csrfmiddlewaretoken": canaries.new("a forged CSRF token")}).is_error
    bearers = {token: 200, canaries.new("a token that is none"): 401}
    for bearer, status in bearers.items():
        headers = {"Authorization": f"Bearer {bearer}"}
        assert httpx.get(f"{web.url}/api/v1/orders", headers=headers).status_code == status
        assert httpx.get(f"{web.url}/api/v1/notifications?after=0", headers=headers).status_code == status
    httpx.get(f"{web.url}/metrics", headers={"Authorization": f"Bearer {canaries.values['METRICS_TOKEN']}"})
    httpx.get(f"{web.url}/nowhere{query}")
    httpx.get(web.url, headers={"Host": "evil.example", "Cookie": f"orderwire_session={session}"})
    return {"Cookie": f"orderwire_session={session}", "Origin": web.url}


async def use_everything_over_sockets(
    web: Web, canaries: Canaries, token: str, cookie: dict[str, str], tickets: list[str]
) -> None:
    query = f"?after=0&token={canaries.new('a query string of a socket')}"
    first, second, third = tickets
    async with httpx.AsyncClient(base_url=f"{web.url}/api/v1") as client:
        answer = await client.post("/tickets/exchange", json={"ticket": third})
        bearer = f"Bearer {canaries.add('a stream token', answer.json()['token'])}"
        assert (await client.get("/notifications", headers={"Authorization": bearer})).status_code == 200
    async with socket(web, token, query=query) as connection:
        await frame(connection, "welcome")
        await connection.send(json.dumps({"type": "ticket", "ticket": second}))
        await connection.send(json.dumps({"type": "ticket", "ticket": canaries.new("a ticket in a frame")}))
        await frame(connection, "error")
        await connection.send(canaries.new("a frame that is no JSON"))
        await frame(connection, "error")
    async with socket(web, headers=cookie) as connection:
        await frame(connection, "welcome")
    async with socket(web, subprotocols=["orderwire.v1", f"ticket.{first}"]) as connection:
        await frame(connection, "welcome")
    with pytest.raises(WebSocketException):
        async with socket(web, headers={**cookie, "Sec-WebSocket-Version": "1"}):
            pass
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{web.url}/api/v1/stream", headers=headers) as events,
    ):
        assert events.status_code == 200


@pytest.mark.parametrize("level", LEVELS)
async def test_no_log_of_a_web_process_holds_a_secret(deploy: type, level: str) -> None:
    canaries = Canaries()
    deployment = secret_deployment(deploy, canaries)
    token = canaries.add("a token", deployment.token("alice"))
    web = deployment.web(LOG_LEVEL=level)
    tickets = [canaries.add(f"ticket {number}", issue(web, token)) for number in range(3)]
    cookie = use_everything_over_http(web, canaries, token)
    await use_everything_over_sockets(web, canaries, token, cookie, tickets)
    web.stop()
    assert canaries.found_in(web.log()) == []
    # It was a log of all that.
    if level in ("debug", "info"):
        assert "/ws/notifications" in web.log()


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_log_of_a_task_worker_or_the_scheduler_holds_a_secret(deploy: type, embedded: bool, level: str) -> None:
    if embedded:
        pytest.skip("the embedded default has no worker")
    canaries = Canaries()
    deployment = secret_deployment(deploy, canaries)
    worker, beat = deployment.worker(LOG_LEVEL=level), deployment.beat(LOG_LEVEL=level)
    note = canaries.new("a note to a customer")
    deployment.manage(
        "shell",
        "--no-imports",
        "-c",
        "from orders.tasks import change_status;"
        f"change_status.apply_async(('SO-1001', 'shipped'), {{'note': {note!r}}}).get",
    )
    for process in (worker, beat):
        process.stop()
        assert canaries.found_in(process.log()) == []


@pytest.mark.parametrize("level", ["debug", "info"])
def test_nothing_that_fails_says_a_secret(deploy: type, embedded: bool, level: str) -> None:
    """The database and Redis are away, so that every library complains in its own words."""
    if embedded:
        pytest.skip("the embedded default has no servers that could be away")
    canaries = Canaries()
    deployment = secret_deployment(deploy, canaries)
    token = canaries.add("a token", deployment.token("alice"))
    deployment.env["DATABASE_URL"] = with_database(deployment.env["DATABASE_URL"], quote("nowhere"))
    assert deployment.redis is not None
    deployment.redis.stop()
    web = deployment.web(LOG_LEVEL=level)
    answer = httpx.get(f"{web.url}/api/v1/orders", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 503
    web.stop()
    assert canaries.found_in(web.log() + answer.text) == []
