"""The tests' own `EventSource` reads what the standard's examples say (WHATWG HTML, 9.2.6)."""

import httpx
import pytest

from tests.faults.event_source import RECONNECTION_TIME, Parser, fails


@pytest.mark.parametrize(
    ("text", "events", "last"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"], ""),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
            ["first event", "second event"],
            "",
        ),
        ("data\n\ndata\ndata\n\ndata:", ["", "\n"], ""),
        ("data:test\n\ndata: test\n\n", ["test", "test"], ""),
        ("\ufeffid: 7\r\ndata: a\r\rid: 8\n\n", ["a"], "8"),
        ("id: 9\ndata: the end is missing\n", [], ""),
        ("id: 1\n\nid: no\0thing\ndata: b\n\n", ["b"], "1"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_events_are_read_however_they_are_cut(text: str, events: list[str], last: str, size: int):
    parser = Parser()
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert [data for piece in pieces for data in parser.feed(piece)] == events
    assert parser.last_event_id == last


def test_what_a_connection_has_told_outlives_it_and_half_an_event_does_not():
    parser = Parser()
    assert parser.reconnection_time == RECONNECTION_TIME
    assert list(parser.feed("retry: 50\nid: 4\n\nretry: 1s\nid: 5\ndata: half")) == []
    parser.begin()
    assert list(parser.feed("\n\ndata: whole\n\n")) == ["whole"]
    assert (parser.last_event_id, parser.reconnection_time) == ("4", 50)


@pytest.mark.parametrize(
    ("status", "content_type", "is_over"),
    [
        (200, "text/event-stream", False),
        (200, "text/event-stream; charset=utf-8", False),
        (200, "text/html", True),
        (200, "", True),
        (204, "text/event-stream", True),
        (503, "text/event-stream", True),
    ],
)
def test_any_other_answer_is_the_end(status: int, content_type: str, is_over: bool):
    assert bool(fails(httpx.Response(status, headers={"Content-Type": content_type}))) is is_over
