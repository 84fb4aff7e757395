"""The wire: every frame and close code of `/ws/notifications`, and nothing else.

Pure functions from values to JSON texts and back. A frame is rendered once and never parsed again on its way out: the
text that `notification()` returns is stored in the log and is, byte for byte, what every client gets, live or replayed.

What a notification tells of is the caller's: its kind and its body pass through here unread. An application has frames
of its own beside these, in both directions: `frame`, and the `others` of `parse`. To add a close code: add it to
`CloseCode`; clients come back after a 40xx and stop after a 45xx.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

#: The version of this protocol, in `welcome` and in the subprotocol's name.
PROTOCOL = 1
SUBPROTOCOL = "orderwire.v1"
#: The largest number that a stream's column holds.
MAX_SEQ = 2**63 - 1
#: Characters of a frame from a client: the protocol's own have a few dozen.
MAX_CHARACTERS = 4_096
#: Characters of the id that a client may give to a frame of the application's.
MAX_CLIENT_ID = 64
#: The types that are this protocol's own; `close` is that of server-sent events.
OWN = frozenset({"welcome", "notification", "reset", "ping", "read", "error", "bye", "close"})
#: Ahead of the ticket in the second subprotocol that a browser offers.
TICKET_PREFIX = "ticket."


class CloseCode(IntEnum):
    """Why the server closes (RFC 6455, 7.4.2: 4000-4999 are the application's). 40xx: come back. 45xx: stop."""

    DRAIN = 4000
    TOO_SLOW = 4001
    POSITION_LOST = 4002
    NO_PONG = 4003
    BUSY = 4004
    EXPIRED = 4005
    NOT_AUTHENTICATED = 4500
    BAD_FRAME = 4501
    REVOKED = 4502
    TOO_MANY_SOCKETS = 4503
    FORBIDDEN_ORIGIN = 4504
    NOT_ALLOWED = 4505


class Reset(StrEnum):
    """Why a position cannot be served."""

    TRIMMED = "trimmed"
    UNKNOWN_STREAM = "unknown_stream"
    AHEAD = "ahead"
    TOO_MANY = "too_many"


class Entry(NamedTuple):
    """A number and the frame that carries it."""

    seq: int
    frame: str


def welcome(*, user: str, stream: str, head: int, after: int, unread: int, ping_seconds: int) -> str:
    return frame(
        "welcome",
        protocol=PROTOCOL,
        user=user,
        stream=stream,
        head=head,
        after=after,
        unread=unread,
        ping_seconds=ping_seconds,
    )


def notification(*, seq: int, kind: str, at: datetime, body: Mapping[str, Any]) -> str:
    """`body` is the caller's, ready for JSON: its fields stand beside `type`, `seq`, `kind` and `at`.

    Raises TypeError when it brings one of these names itself.
    """
    moment = at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    return frame("notification", seq=seq, kind=kind, at=moment, **body)


def reset(*, stream: str, head: int, reason: Reset) -> str:
    return frame("reset", stream=stream, head=head, reason=reason)


def ping(*, head: int, read_up_to: int) -> str:
    return frame("ping", head=head, read_up_to=read_up_to)


def read(*, up_to: int, unread: int) -> str:
    return frame("read", up_to=up_to, unread=unread)


def error(*, code: str, detail: str, **about: Any) -> str:
    """`about` says which frame of the application's it was, and when to try again."""
    return frame("error", code=code, detail=detail, **about)


def bye(*, code: CloseCode, retry_ms: tuple[int, int]) -> str:
    return frame("bye", code=code, retry_ms=retry_ms)


def frame(type_: str, /, **fields: Any) -> str:
    """A frame of any type: applications send their own beside those above."""
    return json.dumps({"type": type_, **fields}, ensure_ascii=False, separators=(",", ":"))


def aside(type_: str, fields: Mapping[str, Any]) -> str:
    """An application's frame that is neither numbered nor kept. Raises ValueError for a type of this protocol's own:
    what brings asides to a process may be forged, and must not bring a notification.
    """
    if type_ in OWN:
        raise ValueError(f"{type_} is the protocol's own.")
    return frame(type_, **fields)


class BadFrame(ValueError):
    """An inbound frame that the protocol does not know; `code` is for machines. Some of them end the connection."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)


class Refusal(BadFrame):
    """An application's frame that is understood and not done. `retry_after`: seconds until it may be."""

    def __init__(self, code: str, detail: str, *, retry_after: int | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(code, detail)


@dataclass(frozen=True, slots=True)
class Pong:
    """The client answers a `ping`."""


@dataclass(frozen=True, slots=True)
class Read:
    """The user has read everything up to a number."""

    up_to: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """The client proves anew who it is."""

    ticket: str


@dataclass(frozen=True, slots=True)
class Other:
    """A frame of the application's own, with all its members."""

    type: str
    fields: Mapping[str, Any]

    @property
    def client_id(self) -> str | None:
        """The client's own id for the frame, by which an error names it; None without one that can be repeated."""
        given = self.fields.get("client_id")
        if not isinstance(given, str) or len(given) > MAX_CLIENT_ID:
            return None
        return given if given.isascii() and given.isprintable() else None


Inbound = Pong | Read | Ticket | Other
#: Where the application has no frames.
NO_OTHERS: Mapping[str, int] = {}


def parse(text: str | None, others: Mapping[str, int] = NO_OTHERS) -> Inbound:
    """An inbound frame; `text` is None for a binary one. Raises `BadFrame`.

    `others` are the types of the application's own frames, and how many characters each may have. No text is parsed
    that is longer than any type may be.
    """
    fields = _fields(text, max(MAX_CHARACTERS, *others.values()) if others else MAX_CHARACTERS)
    type_ = fields.get("type")
    other = others.get(type_) if isinstance(type_, str) else None
    if len(text or "") > (other or MAX_CHARACTERS):
        raise BadFrame("too_long", "The frame has more characters than its type may have.")
    if other is not None:
        return Other(str(type_), fields)
    match fields:
        case {"type": "pong"}:
            return Pong()
        case {"type": "read", "up_to": int(up_to)} if not isinstance(up_to, bool) and 0 <= up_to <= MAX_SEQ:
            return Read(up_to)
        case {"type": "ticket", "ticket": str(ticket)}:
            return Ticket(ticket)
        case {"type": "read" | "ticket" as known}:
            raise BadFrame(
                "invalid_field", f"{known} needs {'up_to, a number' if known == 'read' else 'ticket, a text'}."
            )
        case _:
            raise BadFrame("unknown_type", f"Known types are {', '.join(['pong', 'read', 'ticket', *others])}.")


def _fields(text: str | None, limit: int) -> dict[str, Any]:
    if text is None:
        raise BadFrame("binary", "Frames are JSON texts.")
    if len(text) > limit:
        raise BadFrame("too_long", f"A frame has at most {limit} characters.")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFrame("invalid_json", "The frame is not JSON.") from None
    if not isinstance(fields, dict):
        raise BadFrame("not_an_object", "A frame is a JSON object.")
    return fields
