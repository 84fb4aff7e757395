"""docs/asyncapi.yaml describes the frames that there are: no more, no fewer, and nothing in them that is not told."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.utils import timezone
from jsonschema import Draft202012Validator

from notifications import protocol
from notifications.log import stream
from notifications.protocol import CloseCode, Reset
from notifications.sockets.inbound import Frames
from orders import services
from orders.board import message_frame
from orders.frames import FRAMES
from orders.lifecycle import Status
from orders.models import Order
from orders.notify import Kind
from orders.selectors import snapshot
from tests.api.client import Api
from tests.asyncapi import DOCUMENT, check, messages


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_every_reference_leads_somewhere():
    for reference in references(DOCUMENT):
        node = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert node


@pytest.mark.parametrize("name", DOCUMENT["components"]["messages"])
def test_every_message_is_a_schema_and_belongs_to_a_channel(name: str):
    Draft202012Validator.check_schema(DOCUMENT["components"]["messages"][name]["payload"])
    assert any(name in channel["messages"] for channel in DOCUMENT["channels"].values())


def test_the_enumerations_are_ours():
    payload = {name: message["payload"]["properties"] for name, message in DOCUMENT["components"]["messages"].items()}
    assert payload["notification"]["kind"]["enum"] == [kind.value for kind in Kind]
    assert payload["reset"]["reason"]["enum"] == [reason.value for reason in Reset]
    assert payload["bye"]["code"]["enum"] == [int(code) for code in CloseCode]
    assert DOCUMENT["components"]["schemas"]["order"]["properties"]["status"]["enum"] == Status.values


def test_whatever_the_protocol_can_say_is_described(order: Order):
    frames = [
        protocol.welcome(user="alice", stream="s", head=1, after=0, unread=1, ping_seconds=25),
        protocol.frame("order", order=snapshot(order)),
        protocol.frame("removed", number=order.number),
        protocol.ping(head=1, read_up_to=0),
        protocol.read(up_to=1, unread=0),
        protocol.error(code="binary", detail="Frames are JSON texts."),
        protocol.error(code="rate", detail="Too many.", client_id="c-1", retry_after=3),
        message_frame(number="SO-1", key=7, side="customer", at=timezone.now(), client_id="c-1"),
        protocol.aside("typing", {"order": "SO-1", "who": "staff"}),
        *(protocol.reset(stream="s", head=0, reason=reason) for reason in Reset),
        *(protocol.bye(code=code, retry_ms=(0, 1_000)) for code in CloseCode),
        *(
            protocol.notification(seq=1, kind=kind, at=timezone.now(), body={"order": None, "note": ""})
            for kind in Kind
        ),
    ]
    said = {json.loads(frame)["type"] for frame in frames}
    assert said == {message["payload"]["properties"]["type"]["const"] for message in messages("send")}
    for frame in frames:
        check(json.loads(frame), "send")


def test_the_frames_of_a_whole_order_are_described(as_staff: Api, alice: Any):
    now = timezone.now()
    whole = services.create_order(
        number="SO-9",
        customer="alice",
        placed_at=now - timedelta(days=1),
        estimated_delivery=now.date(),
        total="41.80",
        items=[{"sku": "TEA-01", "name": "Tea", "quantity": 2}],
        metadata={"a": [1, None]},
    )
    services.change_status(order=whole, to="shipped", note="Gone")
    for entry in stream.read_after({alice.pk: 0})[alice.pk]:
        check(json.loads(entry.frame), "send")


def test_what_a_client_may_send_is_understood():
    frames = [
        '{"type":"pong"}',
        '{"type":"read","up_to":1}',
        '{"type":"ticket","ticket":"t"}',
        '{"type":"message","order":"SO-1","text":"Where is it?","client_id":"c-1"}',
        '{"type":"typing","order":"SO-1"}',
    ]
    for frame in frames:
        check(json.loads(frame), "receive")
        assert protocol.parse(frame, Frames(FRAMES).limits) is not None
    said = {json.loads(frame)["type"] for frame in frames}
    assert said == {message["payload"]["properties"]["type"]["const"] for message in messages("receive")}
    assert {frame.type for frame in FRAMES} < said


def test_the_document_is_served_to_everybody(as_nobody: Api):
    for path in ("/asyncapi.yaml", "asyncapi.yaml"):
        answer = as_nobody.get(path)
        assert (answer.status, answer.type) == (200, "application/yaml")
        assert yaml.safe_load(answer.content) == DOCUMENT
