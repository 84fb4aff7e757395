"""Where one client is in its user's stream, and what it takes next.

Pure state: no event loop, no database, no channel layer. `hub` brings what it has heard or read, the cursor decides and
fills its outbox. What comes next is decided here and nowhere else: the next number is taken, what was taken before is
dropped, anything else means that the client is behind and the log has to be read for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from notifications import protocol
from notifications.delivery.outbox import Outbox
from notifications.log.stream import Position
from notifications.protocol import Entry, Reset

#: How many entries are replayed to a client that comes back. One that has missed more is better served by a snapshot.
MAX_REPLAY = 1_000


class Cursor:
    """One client's position in a stream. It is a newcomer until `place` has greeted it."""

    __slots__ = ("outbox", "position", "requested", "stream_uid", "user")

    def __init__(self, outbox: Outbox, *, user: str, after: int | None, stream_uid: str | None) -> None:
        self.outbox = outbox
        #: The user's name, for the greeting.
        self.user = user
        #: The number that the client said it holds; None: it wants only what comes from now on.
        self.requested = after
        #: The stream that `requested`, and later `position`, belongs to; None: the client has named none.
        self.stream_uid = stream_uid
        #: The number of the last notification put into the outbox; None for a newcomer.
        self.position: int | None = None

    @property
    def starts_at(self) -> int | None:
        """The number after which the log has to be read; None: nothing of it is wanted."""
        return self.requested if self.position is None else self.position

    def is_behind(self, uid: str | None, head: int) -> bool:
        """Whether the log has to be read to bring this client to `head` of the stream `uid`.

        Not for a newcomer: its group has to be joined first, and then the log is read for it in any case.
        """
        return self.position is not None and (self.position < head or self.stream_uid != uid)

    def take(self, uid: str, entries: Iterable[tuple[int, str]], head: int) -> bool:
        """Queue those of the entries that are next; gives whether the client is behind `head` after that.

        `uid` names the stream that the entries belong to. Numbers of another stream mean nothing here, and a newcomer
        takes nothing: the log will be read for it, and holds them.
        """
        position = self.position
        if position is None or uid != self.stream_uid:
            return True
        for seq, frame in entries:
            if seq == position + 1:
                if not self.outbox.put(frame):
                    break
                self.position = position = seq
        return position < head

    def place(self, position: Position, page: Sequence[Entry], *, until: int, ping_seconds: int) -> None:
        """Greet a newcomer, and reset a client whose position this stream cannot go on from.

        `page` is what the log holds of this client's next entries up to the number `until`. The caller gives it to
        `take` next. The greeting is queued whatever waits already: it is small, and the log is read for a client only
        when its outbox is empty, so at most two such frames come on top of the bound.
        """
        reason = self._reason_to_reset(position, page, until)
        start = self.starts_at
        newcomer = self.position is None
        if start is None or reason:
            start = position.head
        self.position, self.stream_uid = start, position.uid
        if newcomer:
            self.outbox.put_always(
                protocol.welcome(
                    user=self.user,
                    stream=position.uid,
                    head=position.head,
                    after=start,
                    unread=position.unread,
                    ping_seconds=ping_seconds,
                )
            )
        if reason:
            self.outbox.put_always(protocol.reset(stream=position.uid, head=position.head, reason=reason))

    def _reason_to_reset(self, position: Position, page: Sequence[Entry], until: int) -> Reset | None:
        start, newcomer = self.starts_at, self.position is None
        if self.stream_uid not in (None, position.uid):
            return Reset.UNKNOWN_STREAM
        if start is None:
            return None
        if newcomer and start > position.head:
            return Reset.AHEAD
        if start < position.trimmed_up_to or _is_lost(start + 1, position, page, until):
            return Reset.TRIMMED
        if newcomer and position.head - start > MAX_REPLAY:
            return Reset.TOO_MANY
        return None


def _is_lost(seq: int, position: Position, page: Sequence[Entry], until: int) -> bool:
    """Whether a number that must be in the page is not: somebody has deleted rows by hand.

    Without this its reader would stay behind for ever, and the log would be read for it again and again.
    """
    return seq <= min(position.head, until) and all(entry.seq != seq for entry in page)
