"""The hints: what each tells, to which group of the channel layer, and the shape of its message there.

`log`, `access` and the applications make them and hand them to `publish.on_commit`; `delivery` and the topics' readers
get the messages back. A hint carries what it takes to check it: the stream's id, so that another deployment's user of
the same key is nobody's here. It never carries what only it would know.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypedDict

from notifications import users
from notifications.protocol import Entry
from notifications.users import UserKey

#: How many frames, and characters of them, one hint carries. Beyond that it names the head, and the hub reads the log.
MAX_FRAMES = 50
MAX_CHARACTERS = 200_000
#: A key that can be part of a group's name as it is. Channels' limit of 100 characters leaves room for a prefix.
LEGAL = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class AppendedMessage(TypedDict):
    type: Literal["stream.appended"]
    #: The user's key, as a text.
    user: str
    #: The stream's id: numbers of another stream mean nothing.
    uid: str
    #: The newest number.
    head: int
    #: Number and frame of each entry up to the head, or none of them.
    entries: list[tuple[int, str]]


class ReadMessage(TypedDict):
    type: Literal["stream.read"]
    #: The user's key, as a text.
    user: str
    uid: str
    up_to: int
    unread: int


class RevokedMessage(TypedDict):
    type: Literal["stream.revoked"]
    #: The user's key, as a text.
    user: str
    #: None for a user without a stream, whom nobody can follow.
    uid: str | None
    #: What the keys of the credentials begin with.
    key: str
    #: Seconds, Unix: credentials that were checked before have ended.
    at: float


class AsideMessage(TypedDict):
    type: Literal["stream.aside"]
    #: The user's key, as a text.
    user: str
    uid: str
    #: The frame's type and its other members.
    of: str
    fields: Mapping[str, Any]


class TopicAsideMessage(TypedDict):
    type: Literal["topic.aside"]
    of: str
    fields: Mapping[str, Any]


class TouchedMessage(TypedDict):
    type: Literal["topic.touched"]
    keys: list[str]


#: What arrives in a user's group. A process of another version may have sent it, in the middle of a deploy. A field
#: that is missing or strange raises in the code that reads it; the loop that hears the message logs that and goes on.
OfStream = AppendedMessage | ReadMessage | RevokedMessage | AsideMessage
#: The same for what arrives in a topic's group.
OfTopic = TouchedMessage | TopicAsideMessage


def group_of(user_id: UserKey) -> str:
    """The group of a user's sockets: ASCII letters, digits, `-_.` and under 100 characters, as Channels demands.

    A key that is a text may hold anything: its digest stands for one that Channels would refuse.
    """
    key = users.text(user_id)
    return f"user.{key if LEGAL.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()}"


class Hint(Protocol):
    """What can be published: a group of the channel layer, and a message for all in it."""

    @property
    def group(self) -> str: ...

    def message(self) -> Mapping[str, Any]: ...


class Appended(NamedTuple):
    """Entries were appended to a user's stream."""

    user_id: UserKey
    uid: str
    entries: Sequence[Entry]

    @property
    def group(self) -> str:
        return group_of(self.user_id)

    def message(self) -> AppendedMessage:
        carried = len(self.entries) <= MAX_FRAMES and sum(len(entry.frame) for entry in self.entries) <= MAX_CHARACTERS
        return {
            "type": "stream.appended",
            "user": users.text(self.user_id),
            "uid": self.uid,
            "head": self.entries[-1].seq,
            "entries": [(entry.seq, entry.frame) for entry in self.entries] if carried else [],
        }


class ReadUpTo(NamedTuple):
    """A user has read up to a number of the stream with that id, in one of many tabs."""

    user_id: UserKey
    uid: str
    up_to: int
    unread: int

    @property
    def group(self) -> str:
        return group_of(self.user_id)

    def message(self) -> ReadMessage:
        return {
            "type": "stream.read",
            "user": users.text(self.user_id),
            "uid": self.uid,
            "up_to": self.up_to,
            "unread": self.unread,
        }


class Revoked(NamedTuple):
    """Credentials of a user have ended: those whose key begins with `key`, checked before `at` (seconds, Unix)."""

    user_id: UserKey
    key: str
    at: float
    #: The id of the user's stream; None in what the tail check finds, which is of this deployment in any case.
    uid: str | None = None

    @property
    def group(self) -> str:
        return group_of(self.user_id)

    def message(self) -> RevokedMessage:
        return {
            "type": "stream.revoked",
            "user": users.text(self.user_id),
            "uid": self.uid,
            "key": self.key,
            "at": self.at,
        }


class Touched(NamedTuple):
    """Things of a topic have changed; its watchers read what has become of them."""

    #: The topic's name, which is its group's.
    topic: str
    keys: Sequence[str]

    @property
    def group(self) -> str:
        return self.topic

    def message(self) -> TouchedMessage:
        return {"type": "topic.touched", "keys": list(self.keys)}


class Aside(NamedTuple):
    """A frame for a user's clients that is neither numbered nor kept: who is not there does not miss it.

    `of` is its type, none of the protocol's own, and `fields` the rest of it, ready for JSON.
    """

    user_id: UserKey
    #: The id of the user's stream (`stream.uid_of`).
    uid: str
    of: str
    fields: Mapping[str, Any]

    @property
    def group(self) -> str:
        return group_of(self.user_id)

    def message(self) -> AsideMessage:
        return {
            "type": "stream.aside",
            "user": users.text(self.user_id),
            "uid": self.uid,
            "of": self.of,
            "fields": dict(self.fields),
        }


class TopicAside(NamedTuple):
    """The same for the watchers of a topic."""

    topic: str
    of: str
    fields: Mapping[str, Any]

    @property
    def group(self) -> str:
        return self.topic

    def message(self) -> TopicAsideMessage:
        return {"type": "topic.aside", "of": self.of, "fields": dict(self.fields)}
