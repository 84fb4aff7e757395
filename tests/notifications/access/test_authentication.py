"""Whose page may use a cookie, and which cookie that is; who gets in is in the acceptance tests."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import InterfaceError, OperationalError, connection
from django.test import Client

from notifications.access.authentication import Authentication, origin_is_allowed
from notifications.access.credentials import Credential, session_key_of
from notifications.protocol import CloseCode
from tests.notifications.conftest import Database


@pytest.fixture(autouse=True)
def _shop(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["orders.shop.example", "[::1]", "localhost"]
    settings.ALLOWED_ORIGINS = ["https://shop.example"]


@pytest.mark.parametrize(
    ("origin", "host", "secure", "allowed"),
    [
        ("https://orders.shop.example", "orders.shop.example", True, True),
        ("http://localhost:8000", "localhost:8000", False, True),
        ("http://[::1]:8000", "[::1]:8000", False, True),
        ("https://shop.example", "orders.shop.example", True, True),
        ("http://orders.shop.example", "orders.shop.example", True, False),  # another scheme
        ("https://orders.shop.example:8443", "orders.shop.example", True, False),  # another port
        ("http://shop.example", "orders.shop.example", True, False),
        ("https://shop.example.evil.example", "orders.shop.example", True, False),
        ("https://evil.example", "evil.example", True, False),  # DNS rebinding: its own name, on our address
        ("null", "orders.shop.example", True, False),
        ("", "orders.shop.example", True, False),
        (None, "orders.shop.example", True, False),
        ("*", "orders.shop.example", True, False),
    ],
)
def test_an_origin_is_this_site_or_one_that_is_named_whole(origin: str | None, host: str, secure: bool, allowed: bool):
    assert origin_is_allowed(origin, host, secure=secure) is allowed


async def authenticated(cookie: str, *, kind: str = "websocket", **headers: str | None) -> Credential | CloseCode:
    """What a handshake with that cookie header comes to, or a GET with `kind` http; None takes a header away."""
    named = {"cookie": cookie, "host": "orders.shop.example", "origin": "https://orders.shop.example", **headers}
    scope = {
        "type": kind,
        "scheme": "wss" if kind == "websocket" else "https",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items() if value],
    }
    middleware = Authentication(None)
    try:
        return await middleware.authenticate(scope)
    finally:
        await middleware.database.close()


@pytest.fixture
async def session(alice: User, database: Database, settings: Any) -> str:
    """The key of a session in which alice has logged in."""

    def log_in() -> str:
        settings.WHITENOISE_AUTOREFRESH = True
        client = Client()
        client.force_login(User.objects.get(pk=alice.pk))
        return str(client.cookies[settings.SESSION_COOKIE_NAME].value)

    return await database(log_in)


@pytest.mark.parametrize(
    "around",
    [
        "orderwire_session={}",
        "theme=dark; orderwire_session={}; lang=de",
        'cart={{"sku":"TEA-01","n":2}}; orderwire_session={}',
        "orderwire_session={}; a[b]=c; weird,name=1; =x",
        "consent=äöü; orderwire_session={}",
    ],
)
async def test_the_session_is_found_among_whatever_other_cookies_a_shop_sets(around: str, session: str):
    credential = await authenticated(around.format(session))
    assert isinstance(credential, Credential)
    assert (credential.username, credential.key) == ("alice", session_key_of(session))


async def test_a_session_that_is_none_is_nobodys(session: str, database: Database):
    assert await authenticated("orderwire_session=guessed") is CloseCode.NOT_AUTHENTICATED
    # A quoted cookie may say its characters in octal.
    assert await authenticated('orderwire_session="\\000aaaaaaaaaaaa"') is CloseCode.NOT_AUTHENTICATED
    assert await authenticated("theme=dark") is CloseCode.NOT_AUTHENTICATED
    await database(SessionStore(session).delete)
    assert await authenticated(f"orderwire_session={session}") is CloseCode.NOT_AUTHENTICATED


@pytest.mark.parametrize("site", ["same-origin", "none", None])
async def test_a_get_of_this_site_or_of_no_browser_may_use_the_cookie(site: str | None, session: str):
    found = await authenticated(f"orderwire_session={session}", kind="http", origin=None, sec_fetch_site=site)
    assert isinstance(found, Credential)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "whatever"])
@pytest.mark.parametrize("origin", [None, "https://evil.example"])
async def test_a_get_that_a_page_of_another_site_has_caused_may_not(site: str, origin: str | None, session: str):
    found = await authenticated(f"orderwire_session={session}", kind="http", origin=origin, sec_fetch_site=site)
    assert found is CloseCode.FORBIDDEN_ORIGIN


async def test_a_get_from_an_allowed_origin_may(session: str):
    allowed = {"origin": "https://shop.example", "sec_fetch_site": "same-site"}
    assert isinstance(await authenticated(f"orderwire_session={session}", kind="http", **allowed), Credential)


async def test_the_origin_is_asked_before_the_session(session: str):
    assert (
        await authenticated(f"orderwire_session={session}", origin="https://evil.example") is CloseCode.FORBIDDEN_ORIGIN
    )


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("connection already closed")])
async def test_a_handshake_that_the_database_cannot_check_is_told_to_come_back(
    transactional_db: None, error: Exception
):
    def fail(*_: Any) -> Any:
        raise error

    found = []

    async def inner(scope: dict[str, Any], receive: Any, send: Any) -> None:
        found.append(scope["credential"])

    authentication = Authentication(inner)
    await authentication.database.on_each_thread(lambda: connection.execute_wrappers.append(fail))
    await authentication({"type": "websocket", "headers": [(b"authorization", b"Bearer 0123abcd")]}, None, None)
    assert found == [CloseCode.BUSY]
    await authentication.database.close()


async def test_a_session_of_the_key_before_opens_a_socket_and_stays_its_browsers(session: str, settings: Any):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another key", [settings.SECRET_KEY]
    for _ in range(2):
        credential = await authenticated(f"orderwire_session={session}")
        assert isinstance(credential, Credential)
    settings.SECRET_KEY_FALLBACKS = []
    assert await authenticated(f"orderwire_session={session}") is CloseCode.NOT_AUTHENTICATED
