"""What a plain EventSource is told when it cannot be served: it comes back after a 200 only."""

from typing import Any

import pytest

from notifications.protocol import CloseCode
from notifications.sockets.streaming import EventStream


async def answered(credential: CloseCode) -> tuple[int, str]:
    """Status and body of what a caller gets whose credential is that."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "headers": [], "query_string": b"", "credential": credential}
    await EventStream()(scope, None, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode()


async def test_while_the_database_is_away_the_stream_ends_and_says_when_to_come_back():
    status, body = await answered(CloseCode.BUSY)
    retry, data = body.strip().splitlines()
    assert status == 200
    assert int(retry.removeprefix("retry: ")) >= 2_000
    assert data == 'data: {"type": "close", "code": 4004, "reason": "busy"}'


@pytest.mark.parametrize(
    ("credential", "status"), [(CloseCode.NOT_AUTHENTICATED, 401), (CloseCode.FORBIDDEN_ORIGIN, 403)]
)
async def test_a_caller_that_must_not_come_back_gets_a_status(credential: CloseCode, status: int):
    assert (await answered(credential))[0] == status
