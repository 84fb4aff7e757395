"""Delivering through the channels: called by a task every minute; safe to run twice, and in many places at once.

For each cursor that is due: what the user has not seen by then, grouped by what it is about, one delivery for each
group. Whether it was seen is asked once more before each delivery.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from django.db.models import F
from django.utils import timezone

from notifications.batches import Deadline
from notifications.channels import cursors, intake
from notifications.channels.channel import Channel, Delivery, Failed, News, Refused, Unavailable, registered
from notifications.channels.cursors import Claim, Lost
from notifications.channels.models import ChannelMark
from notifications.log import stream
from notifications.log.models import Notification, Stream

logger = logging.getLogger(__name__)


def deliver(*, deadline: Deadline | None = None) -> int:
    """Deliver what is due through every channel that is switched on; gives the number of deliveries.

    What is left when the deadline has passed is for the next call.
    """
    deadline, made = deadline or Deadline(), 0
    for channel in registered():
        wait = channel.after()
        if wait is not None:
            intake.look(channel, wait=wait, deadline=deadline)
            made += _Run(channel, wait, deadline).deliver()
    return made


class _Run:
    """One call, for one channel."""

    def __init__(self, channel: Channel, wait: timedelta, deadline: Deadline) -> None:
        self.channel, self.wait, self.deadline = channel, wait, deadline
        self.made = 0

    def deliver(self) -> int:
        while not self.deadline.passed() and not self._rests():
            claims = cursors.claim(self.channel.name)
            if not claims:
                break
            left = list(reversed(claims))
            try:
                with self.channel.open() as connection:
                    while left and not self.deadline.passed():
                        self._one(left.pop(), connection)
            except Unavailable as error:
                self._rest(error)
            finally:
                cursors.give_back(left)
        return self.made

    def _rests(self) -> bool:
        return ChannelMark.objects.filter(pk=self.channel.name, paused_until__gt=timezone.now()).exists()

    def _rest(self, error: Unavailable) -> None:
        """Let everything wait a while: what is closed for one is closed for all."""
        mark = ChannelMark.objects.filter(pk=self.channel.name)
        mark.update(failures=F("failures") + 1)
        failures = mark.values_list("failures", flat=True).first() or 1
        waits = cursors.pause(failures)
        mark.update(paused_until=timezone.now() + waits)
        logger.error("%s: nothing can be delivered (%s); tried again in %s.", self.channel.name, error, waits)

    def _one(self, claim: Claim, connection: Any) -> None:
        """Everything that one user has to be told. Raises Unavailable, with the claim given back."""
        try:
            self._attempt(claim, connection)
        except Lost:
            logger.info("%s: no longer this process's.", claim.cursor)

    def _attempt(self, claim: Claim, connection: Any) -> None:
        try:
            self._deliver_to_one(claim, connection)
        except Lost:
            raise
        except Unavailable:
            claim.put_off(self._later(claim))
            raise
        except Exception as error:
            self._failed(claim, error)

    def _deliver_to_one(self, claim: Claim, connection: Any) -> None:
        cursor, where = claim.cursor, Stream.objects.get(pk=claim.cursor.stream_id)
        news = self._news(claim, where)
        up_to = cursor.attempting_up_to or (news[-1].seq if news else where.head)
        address = self.channel.address(where.user_id) if news else ""
        if not address or address == cursor.refused:
            claim.finish(up_to, wait=self.wait)
            return
        claim.note(attempting_up_to=up_to)
        for about, group in self._grouped(news).items():
            if self.deadline.passed():
                claim.put_off(timezone.now(), failed=False)
                return
            if about in claim.delivered or self._seen(claim, group):
                continue
            key = sha256(f"{where.uid}/{about}/{group[-1].seq}".encode()).hexdigest()[:32]
            claim.begin(about)
            try:
                self.channel.deliver(Delivery(where.user_id, address, about, group, key), over=connection)
            except Refused as error:
                logger.warning("%s: the address is refused for good: %s", cursor, error)
                claim.finish(up_to, wait=self.wait, refused=address)
                return
            claim.done(about)
            self.made += 1
            self._is_open()
        claim.finish(up_to, wait=self.wait)

    def _failed(self, claim: Claim, error: Exception) -> None:
        """Try again later what could not be delivered; give it up after so many attempts, and go on with the rest."""
        cursor, about = claim.cursor, claim.cursor.attempting
        if cursor.failures + 1 < cursors.ATTEMPTS:
            if isinstance(error, Failed):
                logger.warning("%s: %s could not be delivered and is tried again: %s", cursor, about, error)
            else:
                logger.error("%s: %s could not be delivered and is tried again.", cursor, about, exc_info=error)
            claim.put_off(self._later(claim))
            return
        logger.error("%s: %s could not be delivered and is given up.", cursor, about or "everything", exc_info=error)
        if about:
            claim.done(about)
            claim.put_off(timezone.now(), failed=False)
        else:
            head = Stream.objects.values_list("head", flat=True).get(pk=cursor.stream_id)
            claim.finish(head, wait=self.wait)

    def _is_open(self) -> None:
        """What was closed before is not: the next time that it is, it is tried again soon."""
        ChannelMark.objects.filter(pk=self.channel.name, failures__gt=0).update(failures=0, paused_until=None)

    def _later(self, claim: Claim) -> datetime:
        return timezone.now() + cursors.pause(claim.cursor.failures + 1)

    def _news(self, claim: Claim, where: Stream) -> list[News]:
        """What is to be told, a page at the most: of an attempt that was broken off, the rest of it."""
        cursor = claim.cursor
        after = max(cursor.sent_up_to, where.trimmed_up_to, where.read_up_to if self.channel.unseen_only else 0)
        rows = Notification.objects.filter(stream_id=where.pk, seq__gt=after).order_by("seq")
        if cursor.attempting_up_to is not None:
            rows = rows.filter(seq__lte=cursor.attempting_up_to)
        return list(_read(rows.values_list("seq", "kind", "at", "frame")[: stream.PAGE]))

    def _grouped(self, news: list[News]) -> dict[str, list[News]]:
        groups: dict[str, list[News]] = {}
        for one in news:
            about = self.channel.about(one)
            if about is not None:
                groups.setdefault(about, []).append(one)
        return groups

    def _seen(self, claim: Claim, group: list[News]) -> bool:
        """Asked at the last moment: the user may have come back while others were being delivered."""
        if not self.channel.unseen_only:
            return False
        read_up_to = Stream.objects.values_list("read_up_to", flat=True).get(pk=claim.cursor.stream_id)
        return read_up_to >= group[-1].seq


def _read(rows: Any) -> Iterator[News]:
    for seq, kind, at, frame in rows:
        yield News(seq, kind, at, json.loads(frame))
