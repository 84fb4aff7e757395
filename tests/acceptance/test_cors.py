"""A page of another origin, where WebSockets are blocked: what its browser is let through to, and with what."""


import pytest

from tests.deployment import Deployment

SHOP = "https://shop.example"
ROUTES = {
    "stream": "GET",
    "notifications": "GET",
    "notifications/unread-count": "GET",
    "notifications/read": "POST",
    "tickets/exchange": "POST",
}
#: Of another site each, or of this one by another name: a page of theirs has no business here.
STRANGERS = ["https://evil.example", "http://shop.example", "https://shop.example:8443", "https://SHOP.example", "null"]


@pytest.fixture(scope="module")
def deployment(deploy_for_module: type) -> Deployment:
    return deploy_for_module()  # type: ignore[no-any-return]
