"""The frames of a real socket are as docs/asyncapi.yaml says, those that answer mistakes included."""

import httpx
import pytest
from jsonschema import ValidationError

from tests.asyncapi import check
from tests.deployment import Deployment, Web
from tests.sockets import frame, socket


async def test_every_frame_of_a_socket_is_described(deployment: Deployment, web: Web):
    seen = set()
    async with httpx.AsyncClient(base_url=web.url) as http, socket(web, deployment.token("bob")) as bobs:
        for sent, awaited in (
            (None, "welcome"),
            ('{"type": "nonsense"}', "error"),
            ("[", "error"),
            (None, "notification"),
            ('{"type": "read", "up_to": 1}', "read"),
        ):
            if sent:
                await bobs.send(sent)
            elif awaited == "notification":
                answer = await http.post(
                    "/api/v1/orders",
                    json={"number": "ASYNC-1", "customer": "bob", "total": "1.00"},
                    headers={"Authorization": f"Bearer {deployment.token('staff')}"},
                )
                assert answer.status_code == 201, answer.text
            received = await frame(bobs, awaited)
            check(received)
            seen.add(received["type"])
    async with socket(web, deployment.token("bob"), query="?after=0&stream=another") as bobs:
        for awaited in ("welcome", "reset"):
            received = await frame(bobs, awaited)
            check(received)
            seen.add(received["type"])
    async with socket(web, deployment.token("staff"), path="/ws/board") as board:
        check(await frame(board, "welcome"))
    assert seen == {"welcome", "error", "notification", "read", "reset"}


@pytest.mark.parametrize("wrong", [{"head": -1}, {"head": 0, "extra": 1}, {}])
def test_a_frame_that_is_otherwise_is_noticed(wrong: dict[str, int]):
    with pytest.raises(ValidationError):
        check({"type": "ping", **wrong})
