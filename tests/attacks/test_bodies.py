"""Half bodies: nobody without credentials, and nobody alone, fills the memory for them."""

from __future__ import annotations

import httpx

from tests.attacks.raw import connected, status
from tests.conftest import Deploy

MEGABYTE = 2**20


def half(size: int, *headers: str) -> bytes:
    """A request that announces a byte more than it sends."""
    head = ["POST /api/v1/orders HTTP/1.1", "Host: localhost", f"Content-Length: {size + 1}", *headers, "", ""]
    return "\r\n".join(head).encode() + b"x" * size


def test_a_long_body_without_credentials_is_refused_before_it_comes(deploy: Deploy):
    web = deploy().web()
    with connected(web) as [connection]:
        connection.sendall(half(2 * MEGABYTE)[:1000])
        assert status(connection) == 413


def test_a_body_longer_than_allowed_is_refused_before_it_comes(deploy: Deploy):
    web = deploy().web()
    with connected(web) as [connection]:
        connection.sendall(half(100 * MEGABYTE, "Authorization: Bearer x")[:1000])
        assert status(connection) == 413


def test_half_bodies_of_strangers_leave_room_for_those_who_are_known(deploy: Deploy):
    """Strangers at many addresses, whose tokens are invented, fill the half that they may have."""
    deployment = deploy(HELD_MEGABYTES="4")
    web = deployment.web()
    headers = {"Authorization": f"Bearer {deployment.token('staff')}", "Content-Type": "application/json"}
    change = b'{"carrier": "DHL"}'
    with httpx.Client(base_url=web.url, headers=headers) as shop:
        assert shop.patch("/api/v1/orders/SO-1003", content=change).status_code == 200
        with connected(web, 10) as strangers:
            for number, stranger in enumerate(strangers):
                stranger.sendall(half(700_000, "Authorization: Bearer x", f"X-Forwarded-For: 192.0.2.{number}"))
            refused = [stranger for stranger in strangers[2:] if status(stranger) == 503]
            assert len(refused) == 8
            assert shop.patch("/api/v1/orders/SO-1003", content=change.ljust(700_000)).status_code == 200


def test_one_address_has_a_share_of_the_memory_for_bodies(deploy: Deploy):
    web = deploy(HELD_MEGABYTES="4").web()
    with connected(web, 3) as strangers:
        for stranger in strangers:
            stranger.sendall(half(700_000, "Authorization: Bearer x"))
        strangers[0].settimeout(None)
        assert [status(stranger) for stranger in strangers[1:]] == [503, 503]
        other = {"Authorization": "Bearer x", "X-Forwarded-For": "192.0.2.7"}
        assert httpx.post(f"{web.url}/api/v1/orders", content=b"x" * 700_000, headers=other).status_code == 401
