"""What a channel is: how long it waits, where it delivers to, and how. `run` calls it and does all the rest.

A project registers its channels when it starts (`register`). A channel keeps nothing: what was delivered stands in its
cursors, and it may be asked to deliver the same once more, if a process died over it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from notifications.channels.models import MAX_NAME
from notifications.users import UserKey


class Refused(Exception):
    """Nobody is there, for good: nothing is delivered to this address any more."""


class Failed(Exception):
    """This one could not be delivered now. It is tried again, later and later, and given up some day."""


class Unavailable(Exception):
    """Nothing can be delivered now, to anybody: the way is closed. The channel rests, and nothing is given up."""


@dataclass(frozen=True, slots=True)
class News:
    """One notification as the log has it; `frame` is what clients get: `type`, `seq`, `kind`, `at` and the body."""

    seq: int
    kind: str
    at: datetime
    frame: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """All that one user has to be told about one thing, oldest first and never empty."""

    user_id: UserKey
    address: str
    about: str
    news: Sequence[News]
    #: The same when the same is delivered a second time, and no other's.
    key: str


class Channel(ABC):
    """One way to users. `name` stands in the database: it does not change."""

    name: str
    #: Whether that which the user has read by then is left out.
    unseen_only = True

    @abstractmethod
    def after(self) -> timedelta | None:
        """How long news wait before they are delivered; None if the channel is switched off."""

    @abstractmethod
    def about(self, news: News) -> str | None:
        """What it is about, up to 128 characters: all about one thing are one delivery. None: it is not delivered."""

    @abstractmethod
    def address(self, user_id: UserKey) -> str:
        """Where the user is reached now, up to 320 characters; empty: nowhere."""

    @abstractmethod
    def open(self) -> AbstractContextManager[Any]:
        """What several deliveries share, such as a connection; it may connect with the first of them."""

    @abstractmethod
    def deliver(self, delivery: Delivery, *, over: Any) -> None:
        """Deliver, or raise Refused, Failed or Unavailable. Any other exception counts as Failed."""


_channels: dict[str, Channel] = {}


def register(channel: Channel) -> None:
    """Add a channel. Raises ValueError for a name that is taken or too long."""
    if channel.name in _channels or not 1 <= len(channel.name) <= MAX_NAME:
        raise ValueError(f"A channel cannot be called {channel.name!r}.")
    _channels[channel.name] = channel


def registered() -> list[Channel]:
    return list(_channels.values())


def known(name: object) -> bool:
    return name in _channels
