"""The wire: whatever comes in is a frame or a bad frame, and whatever goes out is one line of JSON."""

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications import protocol
from notifications.protocol import BadFrame, CloseCode, Pong, Read, Reset, Ticket

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
#: Objects that look like frames, with whatever in their fields.
_nearly = st.fixed_dictionaries(
    {"type": st.sampled_from(["pong", "read", "ticket", "message", "welcome"]) | _json},
    optional={"up_to": _json, "ticket": _json, "thing": _json},
)
_texts = st.none() | st.text() | (_json | _nearly).map(json.dumps)


def parsed(text: str | None) -> protocol.Inbound | BadFrame:
    try:
        return protocol.parse(text, {"message": 300})
    except BadFrame as bad:
        return bad


@given(text=_texts)
def test_whatever_comes_in_is_a_frame_or_a_bad_frame(text: str | None):
    outcome = parsed(text)
    if isinstance(outcome, BadFrame):
        assert outcome.code in {"binary", "too_long", "invalid_json", "not_an_object", "invalid_field", "unknown_type"}
        assert json.loads(protocol.error(code=outcome.code, detail=str(outcome)))["code"] == outcome.code
    else:
        assert isinstance(outcome, protocol.Inbound)


@given(up_to=st.integers())
def test_a_reading_mark_is_a_number_that_a_stream_can_have(up_to: int):
    text = json.dumps({"type": "read", "up_to": up_to})
    if 0 <= up_to <= protocol.MAX_SEQ:
        assert protocol.parse(text) == Read(up_to)
    else:
        with pytest.raises(BadFrame):
            protocol.parse(text)


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"type": "pong"}', Pong()),
        ('{"type": "pong", "at": 5}', Pong()),  # fields that a newer client adds
        ('{"type": "read", "up_to": 7}', Read(7)),
        ('{"type": "ticket", "ticket": "abc"}', Ticket("abc")),
    ],
)
def test_the_frames_of_the_contract_are_understood(text: str, frame: protocol.Inbound):
    assert protocol.parse(text) == frame


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "binary"),
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("[" * 100_000, "too_long"),
        ("[" * 4_000, "invalid_json"),
        ('{"type": "pong", "padding": "' + "x" * 4_096 + '"}', "too_long"),
        ("[]", "not_an_object"),
        ("7", "not_an_object"),
        ("{}", "unknown_type"),
        ('{"type": null}', "unknown_type"),
        ('{"type": ["read"]}', "unknown_type"),
        ('{"type": "read"}', "invalid_field"),
        ('{"type": "read", "up_to": "7"}', "invalid_field"),
        ('{"type": "read", "up_to": 7.0}', "invalid_field"),
        ('{"type": "read", "up_to": true}', "invalid_field"),
        ('{"type": "read", "up_to": -1}', "invalid_field"),
        ('{"type": "ticket"}', "invalid_field"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_frame_says_what_is_wrong_with_it(text: str | None, code: str):
    with pytest.raises(BadFrame) as bad:
        protocol.parse(text)
    assert bad.value.code == code


def test_an_applications_frame_may_be_as_long_as_it_says_and_no_other_frame_with_it():
    others = {"note": 6_000, "short": 50}
    text = json.dumps({"type": "note", "text": "x" * 5_000, "client_id": "c-1"})
    frame = protocol.parse(text, others)
    assert isinstance(frame, protocol.Other)
    assert (frame.type, len(frame.fields["text"]), frame.client_id) == ("note", 5_000, "c-1")
    for type_ in ("short", "pong", "read"):
        with pytest.raises(BadFrame) as bad:
            protocol.parse(text.replace("note", type_), others)
        assert bad.value.code == "too_long"
    # Nothing is parsed that no type could be: these digits would take Python its time.
    with pytest.raises(BadFrame) as bad:
        protocol.parse("9" * 6_001, others)
    assert bad.value.code == "too_long"


@pytest.mark.parametrize("client_id", [None, 7, "x" * 65, ["c"], "\ud800", "a\n"])
def test_an_id_that_is_none_is_not_repeated(client_id: object):
    frame = protocol.parse(json.dumps({"type": "note", "client_id": client_id}), {"note": 200})
    assert isinstance(frame, protocol.Other)
    assert frame.client_id is None


@pytest.mark.parametrize("type_", sorted(protocol.OWN))
def test_no_aside_is_a_frame_of_the_protocols_own(type_: str):
    with pytest.raises(ValueError, match="own"):
        protocol.aside(type_, {"seq": 1})


@given(thing=st.dictionaries(st.text(), _json.filter(lambda value: value == value)), note=st.text())  # noqa: PLR0124
def test_a_notification_is_one_line_of_json_that_brings_everything_back(thing: dict[str, object], note: str):
    at = datetime(2026, 3, 1, 13, 30, tzinfo=timezone(timedelta(hours=1)))
    text = protocol.notification(seq=7, kind="thing.changed", at=at, body={"thing": thing, "note": note})
    assert "\n" not in text
    assert json.loads(text) == {
        "type": "notification",
        "seq": 7,
        "kind": "thing.changed",
        "at": "2026-03-01T12:30:00.000000Z",
        "thing": json.loads(json.dumps(thing)),
        "note": note,
    }


def test_clients_come_back_after_a_40xx_and_stop_after_a_45xx():
    stops = {"NOT_AUTHENTICATED", "BAD_FRAME", "REVOKED", "TOO_MANY_SOCKETS", "FORBIDDEN_ORIGIN", "NOT_ALLOWED"}
    assert {code.name for code in CloseCode if 4500 <= code <= 4599} == stops
    assert all(4000 <= code <= 4099 for code in CloseCode if code.name not in stops)


def test_the_reasons_of_a_reset_are_the_contracts():
    assert {str(reason) for reason in Reset} == {"trimmed", "unknown_stream", "ahead", "too_many"}
