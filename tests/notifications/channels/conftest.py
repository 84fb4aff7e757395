"""A channel that keeps what it delivers, and a way to let time pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from notifications.channels import channel as channels
from notifications.channels import run
from notifications.channels.channel import Channel, Delivery, News
from notifications.channels.models import ChannelCursor, ChannelMark


class Kept(Channel):
    """Delivers into a list, by the `note` of what was told. `does` is called with each delivery, and may raise."""

    name = "kept"

    def __init__(self) -> None:
        self.wait: timedelta | None = timedelta(minutes=15)
        self.addresses: dict[Any, str] = {}
        self.delivered: list[Delivery] = []
        self.does: Callable[[Delivery], object] = lambda delivery: None

    def after(self) -> timedelta | None:
        return self.wait

    def about(self, news: News) -> str | None:
        return news.frame["note"] or None

    def address(self, user_id: Any) -> str:
        return self.addresses.get(user_id, f"{user_id}")

    @contextmanager
    def open(self) -> Iterator[None]:
        yield

    def deliver(self, delivery: Delivery, *, over: Any) -> None:
        self.delivered.append(delivery)
        self.does(delivery)

    @property
    def told(self) -> list[tuple[str, list[int]]]:
        return [(delivery.about, [news.seq for news in delivery.news]) for delivery in self.delivered]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """The only channel there is. It has looked once: what is told from now on is news."""
    channel = Kept()
    monkeypatch.setattr(channels, "_channels", {"kept": channel})
    assert run.deliver() == 0
    return channel


def later() -> None:
    """Everything that waits has waited long enough, and every pause is over."""
    past = timezone.now() - timedelta(seconds=1)
    ChannelCursor.objects.filter(due_at__isnull=False).update(due_at=past)
    ChannelMark.objects.update(paused_until=None)


def deliver_later() -> int:
    """Notice what is new, let the time pass, deliver."""
    made = run.deliver()
    later()
    return made + run.deliver()
