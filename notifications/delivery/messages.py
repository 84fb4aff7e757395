"""What hints say when they arrive: the reading side of `publish`.

A process of another version may have sent them, in the middle of a deploy. A field that is missing or strange raises in
the code that reads it; the loop that hears the message logs that and goes on.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Appended(TypedDict):
    """Entries were appended to a user's stream; `entries` is empty where they were too many for a hint."""

    type: Literal["stream.appended"]
    #: The user's key; a text, or what reads the same as a text.
    user: Any
    #: The stream's id.
    uid: str
    head: int
    #: Pairs of a number and its frame.
    entries: list[tuple[int, str]]


class MarkedRead(TypedDict):
    """A user has read up to a number."""

    type: Literal["stream.read"]
    user: Any
    uid: NotRequired[str]
    up_to: int
    unread: int


class Revoked(TypedDict):
    """Credentials of a user have ended: those whose key begins with `key`, checked before `at` (seconds, Unix)."""

    type: Literal["stream.revoked"]
    user: Any
    uid: NotRequired[str]
    key: str
    at: float


class Touched(TypedDict):
    """Things of a topic have changed."""

    type: Literal["topic.touched"]
    keys: list[str]


#: What arrives in a user's group.
OfStream = Appended | MarkedRead | Revoked
