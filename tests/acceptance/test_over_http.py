"""The stream over plain HTTP, for networks that block WebSockets: server-sent events and long polling."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.deployment import Deployment, Web
from tests.polling import PATIENCE


def bearer(deployment: Deployment, user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {deployment.token(user)}"}


@asynccontextmanager
async def events(web: Web, headers: dict[str, str], query: str = "") -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The events of a stream, each a frame with `id` and `retry` where the event has them."""
    async with (
        httpx.AsyncClient(base_url=web.url, timeout=PATIENCE) as client,
        client.stream("GET", f"/api/v1/stream{query}", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _parsed(answer.aiter_lines())


async def _parsed(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    event: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        else:
            yield json.loads(event.pop("data")) | event
            event = {}


async def change(web: Web, deployment: Deployment, number: str, **fields: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=web.url, headers=bearer(deployment, "staff")) as client:
        answer = await client.patch(f"/api/v1/orders/{number}", json=fields)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


async def head(web: Web, deployment: Deployment, user: str) -> tuple[int, str]:
    async with httpx.AsyncClient(base_url=web.url, headers=bearer(deployment, user)) as client:
        answer = (await client.get("/api/v1/notifications")).json()
        return answer["head"], answer["stream"]


async def test_events_arrive_live_and_resume_by_last_event_id(deploy: type) -> None:
    deployment: Deployment = deploy()
    web = deployment.web()
    async with events(web, bearer(deployment, "alice")) as live:
        welcome = await anext(live)
        assert welcome["type"] == "welcome"
        await change(web, deployment, "SO-1001", carrier="DHL")
        first = await anext(live)
        assert (first["type"], first["id"]) == ("notification", str(welcome["head"] + 1))
        assert first["order"]["carrier"] == "DHL"
    await change(web, deployment, "SO-1001", carrier="UPS")
    headers = bearer(deployment, "alice") | {"Last-Event-ID": first["id"]}
    async with events(web, headers, "?after=0") as resumed:
        assert (await anext(resumed))["type"] == "welcome"
        assert (await anext(resumed))["order"]["carrier"] == "UPS"


async def test_a_browser_that_has_seen_only_the_welcome_misses_nothing(deploy: type) -> None:
    deployment: Deployment = deploy()
    web = deployment.web()
    async with events(web, bearer(deployment, "alice")) as live:
        welcome = await anext(live)
    assert welcome["id"] == str(welcome["head"])
    assert int(welcome["retry"]) > 0
    await change(web, deployment, "SO-1001", carrier="UPS")
    # As an EventSource comes back: the same address, and the last id that it was given.
    async with events(web, bearer(deployment, "alice") | {"Last-Event-ID": welcome["id"]}) as resumed:
        assert (await anext(resumed))["id"] == welcome["id"]
        assert (await anext(resumed))["order"]["carrier"] == "UPS"


async def test_a_browser_whose_position_was_reset_goes_on_from_the_head(web: Web, deployment: Deployment) -> None:
    async with events(web, bearer(deployment, "alice"), "?after=0&stream=another") as stream:
        welcome, reset = await anext(stream), await anext(stream)
    assert (reset["type"], reset["id"]) == ("reset", str(welcome["head"]))


async def test_an_empty_last_event_id_is_none(web: Web, deployment: Deployment) -> None:
    async with events(web, bearer(deployment, "alice") | {"Last-Event-ID": ""}, "?after=0") as stream:
        assert (await anext(stream))["after"] == 0


async def test_where_nobody_more_can_follow_a_browser_is_told_when_to_come_back(deploy: type) -> None:
    deployment: Deployment = deploy(MAX_SOCKETS="1")
    web = deployment.web()
    async with events(web, bearer(deployment, "alice")) as stream:
        await anext(stream)
        # Another status than 200 would end an EventSource for good.
        async with events(web, bearer(deployment, "bob")) as refused:
            told = await anext(refused)
            assert (told["type"], told["code"]) == ("close", 4004)
            assert int(told["retry"]) >= 2_000
        async with httpx.AsyncClient(base_url=web.url, headers=bearer(deployment, "bob"), timeout=PATIENCE) as client:
            poll = await client.get("/api/v1/notifications?after=99&wait=15")
        assert (poll.status_code, poll.headers["retry-after"]) == (200, "1")


async def test_a_browser_whose_token_is_deleted_is_told_and_is_nobody_when_it_comes_back(deploy: type) -> None:
    deployment: Deployment = deploy()
    web = deployment.web()
    headers = bearer(deployment, "alice")
    async with events(web, headers) as stream:
        await anext(stream)
        delete = "from knox.models import AuthToken; AuthToken.objects.filter(user__username='alice').delete()"
        await asyncio.to_thread(deployment.manage, "shell", "--no-imports", "-c", delete)
        told = await anext(stream)
        assert (told["type"], told["code"]) == ("close", 4502)
        assert int(told["retry"]) >= 60_000
    async with httpx.AsyncClient(base_url=web.url, headers=headers, timeout=PATIENCE) as client:
        for path in ("stream", "notifications?after=0&wait=15"):
            assert (await client.get(f"/api/v1/{path}")).status_code == 401


async def test_a_poll_is_told_what_was_trimmed_and_gets_the_rest(deploy: type) -> None:
    deployment: Deployment = deploy()
    web = deployment.web()
    now, uid = await head(web, deployment, "alice")
    trimming = (
        "from django.utils import timezone; from notifications.log import retention; retention.trim(timezone.now())"
    )
    deployment.manage("shell", "--no-imports", "-c", trimming)
    async with httpx.AsyncClient(base_url=web.url, headers=bearer(deployment, "alice"), timeout=PATIENCE) as client:
        nothing = await client.get(f"/api/v1/notifications?after=0&stream={uid}&wait=15")
        assert nothing.json()["reset"] == {"stream": uid, "head": now, "reason": "trimmed"}
        assert (nothing.json()["unread"], nothing.headers["retry-after"]) == (0, "1")
        await change(web, deployment, "SO-1001", carrier="DHL")
        rest = (await client.get("/api/v1/notifications?after=0&limit=1&wait=15")).json()
    assert [entry["seq"] for entry in rest["results"]] == [now + 1]
    assert (rest["reset"]["reason"], rest["unread"]) == ("trimmed", 1)


async def test_the_stream_refuses_who_is_nobody_and_pages_of_other_sites(web: Web) -> None:
    async with httpx.AsyncClient(base_url=web.url) as client:
        nobody = await client.get("/api/v1/stream")
        assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
        assert nobody.headers["content-type"] == "application/problem+json"
        assert nobody.json()["request_id"] == nobody.headers["x-request-id"]
        headers = {"Cookie": "orderwire_session=whatever", "Origin": "https://evil.example"}
        stranger = await client.get("/api/v1/stream", headers=headers)
        assert stranger.status_code == 403
        assert "access-control-allow-origin" not in stranger.headers
        assert (await client.post("/api/v1/stream")).status_code == 405


async def test_a_poll_waits_until_there_is_something(deploy: type) -> None:
    deployment: Deployment = deploy()
    web = deployment.web()
    now, uid = await head(web, deployment, "alice")
    async with httpx.AsyncClient(base_url=web.url, headers=bearer(deployment, "alice"), timeout=PATIENCE) as client:
        poll = asyncio.create_task(client.get(f"/api/v1/notifications?after={now}&stream={uid}&wait=15"))
        # Whether the poll or the change comes first, the poll answers with it.
        await change(web, deployment, "SO-1001", carrier="DHL")
        answer = await poll
    assert [entry["seq"] for entry in answer.json()["results"]] == [now + 1]


async def test_a_poll_that_names_no_number_waits_for_the_first(deploy: type) -> None:
    deployment: Deployment = deploy()
    web = deployment.web()
    assert (await head(web, deployment, "staff"))[0] == 0
    async with httpx.AsyncClient(base_url=web.url, headers=bearer(deployment, "staff"), timeout=PATIENCE) as client:
        poll = asyncio.create_task(client.get("/api/v1/notifications?wait=15"))
        for _ in range(5):  # others are answered meanwhile
            await head(web, deployment, "alice")
        assert not poll.done()
        await client.post("/api/v1/orders", json={"number": "SO-1", "customer": "staff"})
        assert [entry["seq"] for entry in (await poll).json()["results"]] == [1]


@pytest.mark.parametrize(("query", "status"), [("wait=", 200), ("wait=soon", 400), ("after=0&wait=-1", 400)])
async def test_a_poll_that_names_no_time_does_not_wait(
    query: str, status: int, web: Web, deployment: Deployment
) -> None:
    async with httpx.AsyncClient(base_url=web.url, headers=bearer(deployment, "bob")) as client:
        answer = await client.get(f"/api/v1/notifications?{query}")
    assert answer.status_code == status


async def test_a_poll_ends_empty_when_its_time_is_over(web: Web, deployment: Deployment) -> None:
    now, _ = await head(web, deployment, "bob")
    async with httpx.AsyncClient(base_url=web.url, headers=bearer(deployment, "bob")) as client:
        answer = await client.get(f"/api/v1/notifications?after={now}&wait=0.2")
    assert (answer.status_code, answer.json()["results"]) == (200, [])


async def test_a_poll_without_a_credential_does_not_wait(web: Web) -> None:
    async with httpx.AsyncClient(base_url=web.url) as client:
        answer = await client.get("/api/v1/notifications?after=0&wait=25")
    assert answer.status_code == 401
