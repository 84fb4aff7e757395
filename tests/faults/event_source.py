"""A browser's `EventSource`, as WHATWG HTML, 9.2, has it and no cleverer: what a page has without code of its own.

It remembers ids from `id:` lines only, comes back by itself to the address that it was made with, after the time of the
last `retry:`, and is over for good after any answer that is not 200 and `text/event-stream`. `Parser` is 9.2.6.

One thing differs: a browser would send the session's cookie, this sends a token.
"""

import re
from collections.abc import Iterator
from email.message import Message

import httpx

#: Milliseconds until it comes back where no `retry:` came. The standard leaves it to the browser: "a few seconds".
RECONNECTION_TIME = 3000
#: A carriage return at the very end of what has come may be half of a line's end.
LINE_END = re.compile(r"\r\n|\n|\r(?=.)", re.DOTALL)


class Parser:
    """Text to events. Its two fields outlive a connection."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.reconnection_time = RECONNECTION_TIME
        self.begin()

    def begin(self) -> None:
        """A new connection: what was left of an event that did not end is discarded."""
        self._data = ""
        self._id = self.last_event_id
        self._text = ""
        self._first = True

    def feed(self, text: str) -> Iterator[str]:
        """The data of each event that the text completes."""
        self._text += text
        if self._first and self._text:
            self._text = self._text.removeprefix("\ufeff")
            self._first = False
        while end := LINE_END.search(self._text):
            line, self._text = self._text[: end.start()], self._text[end.end() :]
            data = self._take(line)
            if data is not None:
                yield data

    def _take(self, line: str) -> str | None:
        if not line:
            self.last_event_id = self._id
            data, self._data = self._data, ""
            return data.removesuffix("\n") if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data += value + "\n"
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.reconnection_time = int(value)
        # A comment begins with the colon; `event` names a type, and any other field is passed over.
        return None


def fails(answer: httpx.Response) -> str | None:
    """Why that answer ends an `EventSource` for good; None if it does not."""
    if answer.status_code != httpx.codes.OK:
        return f"the status {answer.status_code}"
    message = Message()
    message["Content-Type"] = answer.headers.get("content-type", "")
    if message.get_content_type() != "text/event-stream" or not message["Content-Type"]:
        return f"the content type {message['Content-Type']!r}"
    return None
