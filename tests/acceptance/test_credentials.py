"""Who may follow a stream, for how long, and how soon that ends: seen from outside, on a served deployment."""

from __future__ import annotations

import json
import re

import httpx
import psycopg
import pytest

from tests.database import on_postgres
from tests.deployment import Deployment, Web
from tests.sockets import close_code, frame, socket

ISSUE = (
    "from notifications.access import tickets; from django.contrib.auth import get_user_model;"
    "user = get_user_model().objects.get(username={user!r});"
    "print(*[tickets.issue(user.pk).ticket for _ in range({count})])"
)


def tickets(deployment: Deployment, count: int, user: str = "alice") -> list[str]:
    """All at once: each can be used for 30 s only."""
    return deployment.manage("shell", "--no-imports", "-c", ISSUE.format(user=user, count=count)).split()


def ticket(deployment: Deployment, user: str = "alice") -> str:
    return tickets(deployment, 1, user)[0]


def offer(ticket: str) -> list[str]:
    return ["orderwire.v1", f"ticket.{ticket}"]


def log_in(web: Web, user: str = "alice") -> httpx.Cookies:
    """The cookies of a browser that has logged in."""
    with httpx.Client(base_url=web.url, follow_redirects=True) as client:
        page = client.get("/login")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        answer = client.post("/login", data={"username": user, "password": "demo", "csrfmiddlewaretoken": token[1]})
        assert answer.url.path == "/", answer.text
        return client.cookies


def log_out(web: Web, cookies: httpx.Cookies) -> None:
    with httpx.Client(base_url=web.url, cookies=cookies) as client:
        answer = client.post("/logout", headers={"X-CSRFToken": cookies["orderwire_csrf"], "Referer": web.url})
        assert answer.status_code == 302, answer.text


def cookie(cookies: httpx.Cookies) -> dict[str, str]:
    return {"Cookie": f"orderwire_session={cookies['orderwire_session']}"}


async def test_nobody_is_told_that_they_are_nobody(web: Web) -> None:
    async with socket(web) as connection:
        assert await close_code(connection) == 4500


async def test_a_token_that_is_none_is_not_taken_for_a_cookie(web: Web) -> None:
    headers = cookie(log_in(web)) | {"Origin": web.url, "Authorization": "Bearer 00ff"}
    async with socket(web, headers=headers) as connection:
        assert await close_code(connection) == 4500


async def test_a_session_cookie_opens_a_socket_from_this_site(web: Web) -> None:
    async with socket(web, headers=cookie(log_in(web)) | {"Origin": web.url}) as connection:
        assert (await frame(connection))["user"] == "alice"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "{url}.evil.example", None])
async def test_a_cookie_from_another_site_is_refused(web: Web, origin: str | None) -> None:
    headers = cookie(log_in(web)) | ({"Origin": origin.format(url=web.url)} if origin else {})
    async with socket(web, headers=headers) as connection:
        assert await close_code(connection) == 4504


async def test_a_ticket_opens_a_socket_once(web: Web, deployment: Deployment) -> None:
    offered = offer(ticket(deployment))
    async with socket(web, subprotocols=offered) as connection:
        assert connection.subprotocol == "orderwire.v1"
        assert (await frame(connection))["user"] == "alice"
    async with socket(web, subprotocols=offered) as connection:
        assert await close_code(connection) == 4500


async def test_a_connection_by_ticket_expires_and_another_ticket_prolongs_it(deploy: type) -> None:
    deployment: Deployment = deploy(TICKET_CONNECTION_SECONDS="5")
    web = deployment.web()
    first, second, third = tickets(deployment, 3)
    async with (
        socket(web, deployment.token("alice")) as other,
        socket(web, subprotocols=offer(first)) as brief,
    ):
        await frame(brief, "welcome")
        await frame(other, "welcome")
        await other.send(json.dumps({"type": "ticket", "ticket": third}))
        await other.send('{"type": "read", "up_to": 0}')
        await brief.send(json.dumps({"type": "ticket", "ticket": second}))
        await brief.send(json.dumps({"type": "ticket", "ticket": first}))
        assert (await frame(brief, "error"))["code"] == "invalid_ticket"
        assert await close_code(brief) == 4005
        # A token of a year is not touched by that, nor cut short by a ticket that ends before it.
        await other.send('{"type": "read", "up_to": 1}')
        await frame(other, "read")


async def test_another_users_ticket_prolongs_nothing(web: Web, deployment: Deployment) -> None:
    bobs = ticket(deployment, "bob")
    async with socket(web, deployment.token("alice")) as connection:
        await connection.send(json.dumps({"type": "ticket", "ticket": bobs}))
        assert (await frame(connection, "error"))["code"] == "invalid_ticket"


async def test_logging_out_closes_the_sessions_sockets_and_no_others(web: Web, deployment: Deployment) -> None:
    here, elsewhere = log_in(web), log_in(web)
    origin = {"Origin": web.url}
    async with (
        socket(web, headers=cookie(here) | origin) as ending,
        socket(web, headers=cookie(elsewhere) | origin) as staying,
        socket(web, deployment.token("alice")) as by_token,
    ):
        for connection in (ending, staying, by_token):
            await frame(connection, "welcome")
        log_out(web, here)
        assert await close_code(ending) == 4502
        for connection in (staying, by_token):
            await connection.send('{"type": "read", "up_to": 1}')
            await frame(connection, "read")


@on_postgres
async def test_a_sessions_socket_expires_when_the_session_does(web: Web, deployment: Deployment) -> None:
    """4005, come back: what is revoked would stop for good."""
    cookies = log_in(web)
    with psycopg.connect(deployment.database_url) as database:
        database.execute(
            "UPDATE django_session SET expire_date = now() + interval '3 s' WHERE session_key = %s",
            [cookies["orderwire_session"]],
        )
    async with socket(web, headers=cookie(cookies) | {"Origin": web.url}) as connection:
        await frame(connection, "welcome")
        assert await close_code(connection) == 4005
    async with socket(web, headers=cookie(cookies) | {"Origin": web.url}) as connection:
        assert await close_code(connection) == 4500


CHANGES = {
    "the password changes": ("session", "user.set_password('another'); user.save()"),
    "the token is deleted": ("token", "AuthToken.objects.filter(user=user).delete()"),
    "the user is deactivated": ("token", "user.is_active = False; user.save()"),
    "the user is gone": ("token", "user.orders.all().delete(); user.delete()"),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_socket_ends_when(what: str, deploy: type) -> None:
    by, statement = CHANGES[what]
    # The tail check is off, so it is the hint that ends it; without Redis, only the tail check can reach another
    # process's sockets.
    deployment: Deployment = deploy()
    deployment = deployment if deployment.redis is None else deploy(NOTIFICATION_TAIL_SECONDS="3600")
    web = deployment.web()
    headers = cookie(log_in(web)) | {"Origin": web.url} if by == "session" else {}
    async with socket(web, deployment.token("alice") if by == "token" else None, headers=headers) as connection:
        await frame(connection, "welcome")
        deployment.manage(
            "shell",
            "--no-imports",
            "-c",
            "from knox.models import AuthToken; from django.contrib.auth import get_user_model;"
            f"user = get_user_model().objects.get(username='alice'); {statement}",
        )
        assert await close_code(connection) == 4502


async def test_a_token_takes_along_the_sockets_that_its_tickets_have_opened_for_customers(deploy: type) -> None:
    deployment: Deployment = deploy()
    web = deployment.web()
    async with httpx.AsyncClient(
        base_url=web.url, headers={"Authorization": f"Bearer {deployment.token('staff')}"}
    ) as shop:

        async def asks(customer: str) -> str:
            return str((await shop.post("/api/v1/tickets", json={"customer": customer})).json()["ticket"])

        of_alice, of_bob, unused = await asks("alice"), await asks("bob"), await asks("alice")
        async with (
            socket(web, subprotocols=offer(of_alice)) as alice,
            socket(web, subprotocols=offer(of_bob)) as bob,
            socket(web, deployment.token("alice")) as her_own,
        ):
            for connection in (alice, bob, her_own):
                await frame(connection, "welcome")
            token = next(t for t in (await shop.get("/api/v1/tokens")).json()["results"] if t["current"])
            assert (await shop.delete(f"/api/v1/tokens/{token['id']}")).status_code == 204
            assert [await close_code(alice), await close_code(bob)] == [4502, 4502]
            await her_own.send('{"type": "read", "up_to": 1}')
            await frame(her_own, "read")
        async with socket(web, subprotocols=offer(unused)) as connection:
            assert await close_code(connection) == 4500


async def test_a_revocation_whose_hint_is_lost_is_found_by_the_tail_check(deploy: type) -> None:
    deployment: Deployment = deploy(NOTIFICATION_TAIL_SECONDS="0.2")
    web = deployment.web()
    async with socket(web, deployment.token("alice")) as connection:
        await frame(connection, "welcome")
        deployment.manage(
            "shell",
            "--no-imports",
            "-c",
            "from knox.models import AuthToken; AuthToken.objects.filter(user__username='alice').delete()",
            HINT_FAULTS="drop=1",
        )
        assert await close_code(connection) == 4502


async def test_a_user_has_so_many_sockets_and_the_oldest_goes(deploy: type) -> None:
    deployment: Deployment = deploy(MAX_SOCKETS_PER_USER="2")
    web, alice = deployment.web(), deployment.token("alice")
    async with socket(web, alice) as first, socket(web, alice) as second:
        for connection in (first, second):
            await frame(connection, "welcome")
        async with socket(web, alice) as third:
            assert (await frame(third))["type"] == "welcome"
            assert await close_code(first) == 4503


async def test_a_process_has_so_many_sockets_and_the_next_is_sent_elsewhere(deploy: type) -> None:
    deployment: Deployment = deploy(MAX_SOCKETS="1")
    web = deployment.web()
    async with socket(web, deployment.token("alice")) as connection:
        await frame(connection, "welcome")
        async with socket(web, deployment.token("bob")) as one_too_many:
            assert await close_code(one_too_many) == 4004


async def test_a_frame_over_thirty_two_kibibytes_closes_with_1009(web: Web, deployment: Deployment) -> None:
    async with socket(web, deployment.token("alice")) as connection:
        await connection.send(json.dumps({"type": "pong", "padding": "x" * 32_768}))
        assert await close_code(connection) == 1009


async def test_who_sends_too_much_is_told_and_then_closed(web: Web, deployment: Deployment) -> None:
    async with socket(web, deployment.token("alice")) as connection:
        for _ in range(60):
            await connection.send('{"type": "pong"}')
        assert (await frame(connection, "error"))["code"] == "rate"
        assert await close_code(connection) == 4501


async def test_bad_frames_are_answered_and_too_many_of_them_close(web: Web, deployment: Deployment) -> None:
    bad: dict[str | bytes, str] = {
        "{": "invalid_json",
        "[]": "not_an_object",
        '{"type": "shout"}': "unknown_type",
        '{"type": "read"}': "invalid_field",
        '{"type": "read", "up_to": -1}': "invalid_field",
        '{"type": "read", "up_to": true}': "invalid_field",
        '{"type": "ticket", "ticket": 5}': "invalid_field",
        '{"type": "ticket", "ticket": "\\ud800"}': "invalid_ticket",
        "[" * 2000: "invalid_json",
        b"\x00\x01": "binary",
    }
    async with socket(web, deployment.token("alice")) as connection:
        for sent, code in bad.items():
            await connection.send(sent)
            assert (await frame(connection, "error"))["code"] == code
        assert await close_code(connection) == 4501


@pytest.mark.parametrize("query", ["?after=x", "?after=-1", "?after=1e3", "?after=" + "9" * 30, "?after=٣"])
async def test_a_position_that_is_no_number_is_a_protocol_error(web: Web, deployment: Deployment, query: str) -> None:
    async with socket(web, deployment.token("alice"), query=query) as connection:
        assert await close_code(connection) == 4501
