"""A page of another origin, where WebSockets are blocked: what its browser is let through to, and with what."""

from __future__ import annotations

from typing import Any

import httpx

from tests.acceptance.test_credentials import offer, ticket
from tests.acceptance.test_over_http import events
from tests.deployment import Deployment, Web
from tests.polling import PATIENCE
from tests.sockets import close_code, socket

SHOP = "https://shop.example"
ROUTES = {
    "stream": "GET",
    "notifications": "GET",
    "notifications/unread-count": "GET",
    "notifications/read": "POST",
    "tickets/exchange": "POST",
}
NOT_FOR_PAGES = ["orders", "orders/SO-1001", "tickets", "tokens"]
#: Of another site each, or of none.
STRANGERS = ["https://evil.example", "http://shop.example", "https://shop.example:8443", "https://SHOP.example", "null"]


def client(web: Web, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{web.url}/api/v1/", headers=headers, timeout=PATIENCE)


def words(header: str) -> set[str]:
    return {word.strip().lower() for word in header.split(",")}


async def preflight(page: httpx.AsyncClient, path: str, method: str, origin: str) -> httpx.Response:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type"}
    return await page.options(path, headers={"Origin": origin, **asked})


async def test_a_browser_lets_pages_of_exactly_the_allowed_origins_read_the_stream(deploy: Any) -> None:
    deployment: Deployment = deploy()
    web = deployment.web(ALLOWED_ORIGINS=SHOP)
    async with client(web) as page:
        for path, method in ROUTES.items():
            answer = await preflight(page, path, method, SHOP)
            assert (answer.status_code, answer.content) == (204, b""), path
            assert answer.headers["access-control-allow-origin"] == SHOP
            assert words(answer.headers["access-control-allow-methods"]) == {method.lower()}
            assert {"authorization", "content-type"} <= words(answer.headers["access-control-allow-headers"])
            assert "origin" in words(answer.headers["vary"])
            for origin in (*STRANGERS, web.url):
                answer = await preflight(page, path, method, origin)
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin"), (path, origin)
                assert "origin" in words(answer.headers["vary"])
                assert not any(name.startswith("access-control") for name in answer.headers)
            # Without a credential the answer is a refusal, which a page reads as any other.
            answer = await page.request(method, path, headers={"Origin": SHOP})
            assert answer.status_code in (400, 401), path
            assert answer.headers["access-control-allow-origin"] == SHOP
            assert {"retry-after", "x-request-id"} <= words(answer.headers["access-control-expose-headers"])
            for headers in ({}, {"Origin": STRANGERS[0]}):
                answer = await page.request(method, path, headers=headers)
                assert "access-control-allow-origin" not in answer.headers
                assert "origin" in words(answer.headers["vary"])
        for path in NOT_FOR_PAGES:
            answer = await preflight(page, path, "GET", SHOP)
            assert answer.status_code >= 400
            assert "access-control-allow-origin" not in answer.headers


async def exchange(web: Web, deployment: Deployment) -> dict[str, str]:
    """The header that a page has after it exchanged a ticket of alice's."""
    async with client(web) as page:
        answer = await page.post("tickets/exchange", json={"ticket": ticket(deployment)})
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}


async def test_a_stream_token_opens_the_stream_and_waits_with_a_poll_and_opens_no_socket(
    web: Web, deployment: Deployment
) -> None:
    bearer = await exchange(web, deployment)
    async with events(web, bearer) as stream:
        welcome = await anext(stream)
        assert (welcome["type"], welcome["user"]) == ("welcome", "alice")
    async with client(web, **bearer) as page:
        waited = await page.get(f"notifications?wait=0.1&after={welcome['head']}&stream={welcome['stream']}")
        assert (waited.status_code, waited.json()["user"]) == (200, "alice")
    for path in ("/ws/notifications", "/ws/board"):
        async with socket(web, path=path, headers=bearer) as connection:
            assert await close_code(connection) == 4500


async def test_a_stream_that_a_token_opened_ends_with_the_credential_that_asked_for_the_ticket(deploy: Any) -> None:
    deployment: Deployment = deploy()
    web = deployment.web()
    async with client(web, Authorization=f"Bearer {deployment.token('staff')}") as shop, client(web) as page:

        async def asks() -> dict[str, str]:
            issued = (await shop.post("tickets", json={"customer": "alice"})).json()["ticket"]
            token = (await page.post("tickets/exchange", json={"ticket": issued})).json()["token"]
            return {"Authorization": f"Bearer {token}"}

        bearer = await asks()
        async with events(web, bearer) as stream:
            assert (await anext(stream))["type"] == "welcome"
            own = next(token for token in (await shop.get("tokens")).json()["results"] if token["current"])
            assert (await shop.delete(f"tokens/{own['id']}")).status_code == 204
            last = await anext(stream)
            assert (last["type"], last["code"]) == ("close", 4502)
        assert (await page.get("notifications", headers=bearer)).status_code == 401
        assert (await page.get("stream", headers=bearer)).status_code == 401


async def test_a_stream_that_a_token_opened_expires_with_it(deploy: Any) -> None:
    deployment: Deployment = deploy(TICKET_CONNECTION_SECONDS="2")
    web = deployment.web()
    async with events(web, await exchange(web, deployment)) as stream:
        assert (await anext(stream))["type"] == "welcome"
        assert [(await anext(stream))["code"]] == [4005]


async def test_a_used_ticket_is_exchanged_for_nothing(web: Web, deployment: Deployment) -> None:
    used = ticket(deployment)
    async with socket(web, subprotocols=offer(used)) as connection, client(web) as page:
        await connection.recv()
        assert (await page.post("tickets/exchange", json={"ticket": used})).status_code == 401
