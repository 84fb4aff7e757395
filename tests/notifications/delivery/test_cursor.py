"""What a client takes, and where it is placed: no loop, no database, no layer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from notifications.delivery import outbox
from notifications.delivery.cursor import MAX_REPLAY, Cursor
from notifications.delivery.outbox import Outbox
from notifications.log.stream import Position
from notifications.protocol import Entry

STREAM = "the-stream"


def cursor(after: int | None = None, stream_uid: str | None = None) -> Cursor:
    async def send(frame: str) -> None:
        raise AssertionError("nobody writes here")

    return Cursor(Outbox(send, drained=lambda: None), user="alice", after=after, stream_uid=stream_uid)


def entries(*seqs: int) -> list[Entry]:
    return [Entry(seq, json.dumps({"type": "notification", "seq": seq})) for seq in seqs]


def place(client: Cursor, head: int, page: Sequence[int] = (), *, uid: str = STREAM, trimmed_up_to: int = 0) -> None:
    """As the hub does, after it has read the log up to the head."""
    stands = Position(uid=uid, head=head, read_up_to=0, trimmed_up_to=trimmed_up_to)
    client.place(stands, entries(*page), until=head, ping_seconds=25)


def placed(at: int) -> Cursor:
    """A client that has been greeted, with that number, and has read its greeting."""
    client = cursor()
    place(client, at)
    client.outbox.waiting.clear()
    return client


def frames(client: Cursor) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in client.outbox.waiting]


def seqs(client: Cursor) -> list[int]:
    return [frame["seq"] for frame in frames(client) if frame["type"] == "notification"]


@pytest.mark.parametrize(
    ("comes", "takes", "behind"),
    [
        ([6], [6], False),
        ([6, 7], [6, 7], False),
        ([5], [], False),
        ([4, 5, 6], [6], False),
        ([7], [], True),
        ([6, 8], [6], True),
        ([7, 6], [6], True),
        ([], [], False),
    ],
)
def test_the_next_number_is_taken_what_was_seen_is_dropped_and_a_gap_is_left(
    comes: list[int], takes: list[int], behind: bool
):
    client = placed(5)
    assert client.take(STREAM, entries(*comes), head=max([5, *comes])) is behind
    assert seqs(client) == takes
    assert client.position == 5 + len(takes)


def test_a_head_that_no_entry_reaches_leaves_the_client_behind():
    client = placed(5)
    assert client.take(STREAM, [], head=6)
    assert client.is_behind(STREAM, 6)
    assert not client.is_behind(STREAM, 5)


def test_numbers_of_another_stream_are_not_taken():
    client = placed(5)
    assert client.take("another", entries(6), head=6)
    assert (seqs(client), client.position) == ([], 5)
    assert client.is_behind("another", 0)


def test_a_newcomer_takes_nothing_before_it_is_greeted():
    client = cursor(after=5, stream_uid=STREAM)
    assert client.take(STREAM, entries(6), head=6)
    assert frames(client) == []
    place(client, 6, [6])
    client.take(STREAM, entries(6), head=6)
    assert [frame["type"] for frame in frames(client)] == ["welcome", "notification"]


def test_what_does_not_fit_is_left_to_the_log():
    client = placed(0)
    count = outbox.MAX_FRAMES + 10
    assert client.take(STREAM, entries(*range(1, count + 1)), head=count)
    assert client.position == outbox.MAX_FRAMES
    client.outbox.waiting.clear()
    assert not client.take(STREAM, entries(*range(1, count + 1)), head=count)
    assert seqs(client) == list(range(outbox.MAX_FRAMES + 1, count + 1))


@pytest.mark.parametrize(
    ("client", "position", "page", "after", "reason"),
    [
        (cursor(), {"head": 9}, [], 9, None),
        (cursor(after=7), {"head": 9}, [8, 9], 7, None),
        (cursor(after=7, stream_uid=STREAM), {"head": 9}, [8, 9], 7, None),
        (cursor(after=9), {"head": 9}, [], 9, None),
        (cursor(after=3), {"head": 9, "trimmed_up_to": 3}, range(4, 10), 3, None),
        (cursor(after=0), {"head": MAX_REPLAY}, range(1, MAX_REPLAY + 1), 0, None),
        (cursor(after=7, stream_uid="another"), {"head": 9}, [8, 9], 9, "unknown_stream"),
        (cursor(after=10), {"head": 9}, [], 9, "ahead"),
        (cursor(after=2), {"head": 9, "trimmed_up_to": 3}, range(4, 10), 9, "trimmed"),
        (cursor(after=7), {"head": 9}, [9], 9, "trimmed"),
        (cursor(after=0), {"head": MAX_REPLAY + 1}, range(1, MAX_REPLAY + 2), MAX_REPLAY + 1, "too_many"),
    ],
)
def test_a_newcomer_is_placed_where_it_was_or_reset_to_the_head(
    client: Cursor, position: dict[str, Any], page: Sequence[int], after: int, reason: str | None
):
    place(client, **position, page=page)
    welcome, *resets = frames(client)
    assert (welcome["type"], welcome["after"], welcome["head"]) == ("welcome", after, position["head"])
    assert [(reset["type"], reset["reason"], reset["head"]) for reset in resets] == (
        [("reset", reason, position["head"])] if reason else []
    )
    assert (client.position, client.stream_uid) == (after, STREAM)


def test_a_client_whose_stream_was_begun_anew_is_reset():
    client = placed(5)
    place(client, 2, [1, 2], uid="another")
    assert [(frame["type"], frame["reason"], frame["stream"]) for frame in frames(client)] == [
        ("reset", "unknown_stream", "another")
    ]
    assert not client.take("another", entries(1, 2, 3), head=3)
    assert seqs(client) == [3]


def test_a_full_outbox_loses_no_reset():
    """A reset that is dropped would leave the client in an old place, and the hub sure that it has moved."""
    client = placed(5)
    while client.outbox.put("{}"):
        pass
    place(client, 9, uid="another")
    assert json.loads(client.outbox.waiting[-1])["type"] == "reset"
    assert client.position == 9


def test_a_full_outbox_loses_no_greeting():
    client = cursor(after=7, stream_uid="another")
    while client.outbox.put("{}"):  # errors, to a client that speaks before it is greeted
        pass
    place(client, 9)
    assert [json.loads(frame)["type"] for frame in list(client.outbox.waiting)[-2:]] == ["welcome", "reset"]
