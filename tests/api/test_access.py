"""Every route, asked by everybody: who may is written down here, and a route that stands nowhere here fails.

alice owns SO-A, bob owns nothing of interest, staff have the permissions. Nothing of alice's is ever in an answer to
bob or to nobody.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from knox.models import AuthToken

from config.asgi import sockets
from notifications.channels import unsubscribe
from notifications.sockets.routing import http_urlpatterns
from orders import conversation, services
from orders.models import Order

#: What alice has and nobody else may learn.
SECRET = "only-for-alice"

CHANGE = {"status": "processing"}
NEW = {"number": "SO-NEW", "customer": "alice"}
BATCH = {"changes": [{"number": "SO-A", "status": "processing"}]}

MESSAGE = {"text": "In the van."}

#: By the name of the route and the method: the body, and the statuses for nobody, alice, bob and staff.
Table = dict[str, dict[str, tuple[Any, tuple[int, int, int, int]]]]
ROUTES: Table = {
    "order-list": {"GET": (None, (401, 200, 200, 200)), "POST": (NEW, (401, 403, 403, 201))},
    "order-batch": {"POST": (BATCH, (401, 403, 403, 200))},
    "order-detail": {
        "GET": (None, (401, 200, 404, 200)),
        "PUT": (CHANGE, (401, 403, 404, 200)),
        "PATCH": (CHANGE, (401, 403, 404, 200)),
        "DELETE": (None, (401, 403, 404, 204)),
    },
    "order-history": {"GET": (None, (401, 200, 404, 200))},
    "order-messages": {"GET": (None, (401, 200, 404, 200)), "POST": (MESSAGE, (401, 201, 404, 201))},
    "notifications": {"GET": (None, (401, 200, 200, 200))},
    "notifications-read": {"POST": ({"up_to": 1}, (401, 200, 200, 200))},
    "notifications-unread-count": {"GET": (None, (401, 200, 200, 200))},
    "snapshot": {"GET": (None, (401, 200, 200, 200))},
    "tickets": {"POST": ({"customer": "alice"}, (401, 201, 403, 201))},
    "tickets-exchange": {"POST": ({"ticket": "unknown"}, (401, 401, 401, 401))},
    "tokens": {"GET": (None, (401, 200, 200, 200))},
    "token": {"DELETE": (None, (401, 204, 404, 404))},
    "schema": {"GET": (None, (200, 200, 200, 200))},
    "docs": {"GET": (None, (200, 200, 200, 200))},
    "asyncapi": {"GET": (None, (200, 200, 200, 200))},
    "asyncapi-root": {"GET": (None, (200, 200, 200, 200))},
}
#: For people with a session; who has none is sent to the log-in, and a token opens nothing here.
PAGES: Table = {
    "home": {"GET": (None, (302, 200, 200, 200))},
    "order-page": {"GET": (None, (302, 200, 404, 200)), "POST": (None, (302, 400, 404, 400))},
    "board": {"GET": (None, (302, 403, 403, 200))},
    "updates": {"GET": (None, (302, 200, 200, 200))},
    "updates-read": {"POST": ({}, (302, 302, 302, 302))},
    "login": {"GET": (None, (200, 302, 302, 302))},
    "logout": {"POST": ({}, (302, 302, 302, 302))},
    # The token in the address says whose; who is logged in counts for nothing.
    "unsubscribe": {"GET": (None, (200, 200, 200, 200)), "POST": (None, (200, 200, 200, 200))},
}
#: OPTIONS tells which of these there are, and nothing else: test_clients.py.
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE")


def patterns(resolver: Any = None, namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every route of Django's with its name, in its namespace."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern, f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace)
        else:
            yield f"{namespace}{pattern.name}", pattern


def test_every_route_is_known_here():
    assert {name for name, _ in patterns() if not name.startswith("admin:")} == ROUTES.keys() | PAGES.keys()


def test_every_route_beside_django_is_known():
    """Each of them has its own tests of who may: tests/acceptance/test_credentials.py and test_over_http.py."""
    known = {"ws/notifications", "ws/board", "api/v1/stream", "api/v1/notifications", ""}
    known |= {f"api/v1/{path}" for path in ("notifications/read", "notifications/unread-count", "tickets/exchange")}
    beside = [*http_urlpatterns(lambda *_: None), *sockets]
    assert {str(route.pattern) for route in beside} == known


class World:
    """alice's order and token, and a client for each of the four, by token or by session."""

    def __init__(self, alice: AbstractUser, bob: AbstractUser, staff: AbstractUser) -> None:
        self.order = services.create_order(number="SO-A", customer="alice", carrier=SECRET, metadata={"secret": SECRET})
        conversation.write(order=self.order, author=alice, text=f"I live in {SECRET} Street")
        self.token, _ = AuthToken.objects.create(alice)
        self.users: list[Any] = [None, alice, bob, staff]

    def path(self, name: str) -> str:
        known = {"number": "SO-A", "token_key": self.token.token_key}
        known["token"] = unsubscribe.url("email", self.users[1].pk).rpartition("/")[2]
        [pattern] = [pattern for found, pattern in patterns() if found == name]
        return reverse(name, kwargs={group: known[group] for group in pattern.pattern.regex.groupindex})

    def client(self, user: Any, by: str) -> Client:
        if user is None:
            return Client()
        if by == "session":
            client = Client()
            client.force_login(user)
            return client
        _, secret = AuthToken.objects.create(user)
        return Client(headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture
def world(alice: AbstractUser, bob: AbstractUser, staff: AbstractUser) -> World:
    return World(alice, bob, staff)


def ask(client: Client, method: str, path: str, body: Any) -> Any:
    return client.generic(method, path, "" if body is None else json.dumps(body), "application/json")


CASES = [
    (route, method, who, by)
    for table, ways in ((ROUTES, ("token", "session")), (PAGES, ("session",)))
    for route, methods in table.items()
    for method in methods
    for who in range(4)
    for by in ways
]


@pytest.mark.parametrize(("route", "method", "who", "by"), CASES)
def test_a_route_answers_whom_it_should_and_tells_nobody_of_alice(
    world: World, route: str, method: str, who: int, by: str
):
    body, statuses = {**ROUTES, **PAGES}[route][method]
    answer = ask(world.client(world.users[who], by), method, world.path(route), body)
    assert answer.status_code == statuses[who], answer.content[:300]
    if who == 0 and answer.status_code == 302 and route != "logout":
        assert answer.headers["Location"].startswith(reverse(settings.LOGIN_URL))
    if world.users[who] is None or world.users[who].get_username() == "bob":
        assert SECRET not in answer.content.decode()
    if who != 3:
        world.order.refresh_from_db()
        assert (world.order.version, Order.objects.count()) == (1, 1)


@pytest.mark.parametrize("route", ROUTES)
def test_a_method_that_is_not_written_down_is_refused_to_everybody(world: World, route: str):
    for user in world.users:
        client = world.client(user, "token")
        for method in METHODS:
            if method not in ROUTES[route]:
                answer = ask(client, method, world.path(route), None)
                assert answer.status_code in (401, 403, 404, 405), (method, answer)


#: Some value for each part of an admin's address.
PARTS = {"object_id": "1", "app_label": "orders", "content_type_id": "1", "url": "anything", "user_id": "1", "id": "1"}
#: The admin's own doors, and words for its scripts.
OPEN = {"admin:login", "admin:logout", "admin:jsi18n"}


@pytest.mark.parametrize("by", ["token", "session"])
def test_the_admin_is_for_staff(world: World, by: str):
    walked = 0
    for name, pattern in patterns():
        if not name.startswith("admin:") or name in OPEN or pattern.name is None:
            continue
        groups = pattern.pattern.regex.groupindex
        path = reverse(name, kwargs={group: PARTS[group] for group in groups})
        for user in world.users[:3]:
            answer = ask(world.client(user, by), "GET", path, None)
            assert answer.status_code == 302, (name, answer)
            assert answer.headers["Location"].startswith(f"{reverse('admin:login')}?next=")
        walked += 1
    assert walked > 20
