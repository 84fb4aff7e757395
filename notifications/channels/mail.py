"""E-mail through Django's backends: the connection, the headers, and what an answer of the server means.

What is written, and about what, is the project's: a subclass says `about` and `compose`. Each mail can be stopped with
one click (RFC 2369, RFC 8058: `unsubscribe`), says that a program sent it (RFC 3834), and has the same Message-ID when
it is sent a second time, by which mail programs show it once.
"""

from __future__ import annotations

import re
import smtplib
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parseaddr
from typing import Any

from django.conf import settings as project
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from notifications.channels import unsubscribe
from notifications.channels.channel import Channel, Delivery, Failed, Refused, Unavailable
from notifications.conf import settings
from notifications.users import UserKey

#: Codes for a mailbox that is not there, without a reason beside (RFC 5321, 4.2.3).
NO_MAILBOX = (550, 551, 553)
#: Reasons that are the address's own (RFC 3463, 3.2 and 3.3): all of X.1 but those of the sender's, and a mailbox that
#: is closed. A policy (X.7) may be about us, and would shut out everybody.
ENHANCED = re.compile(rb"\A\s*5\.(\d{1,3})\.(\d{1,3})\b")
SENDERS = (7, 8)
PERMANENT = 500


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail: plain text, and the same as HTML."""

    subject: str
    text: str
    html: str


class MailChannel(Channel):
    """News that were not seen for `EMAIL_AFTER_MINUTES`, to the user's own address."""

    name = "email"

    @abstractmethod
    def compose(self, delivery: Delivery, *, unsubscribe_url: str) -> Letter:
        """What is written. Runs when it is sent, so it may say how things are by now."""

    def after(self) -> timedelta | None:
        minutes = settings.EMAIL_AFTER_MINUTES
        return timedelta(minutes=minutes) if minutes else None

    def address(self, user_id: UserKey) -> str:
        users = get_user_model()
        user: Any = users._default_manager.filter(pk=user_id).first()
        if user is None or not user.is_active:
            return ""
        return getattr(user, users.get_email_field_name(), "") or ""

    @contextmanager
    def open(self) -> Iterator[Any]:
        """A connection that is opened for the first mail, and stays open for the others of a batch."""
        connection = mail.get_connection()
        try:
            yield connection
        finally:
            with suppress(OSError):  # smtplib's errors are some; the mails are sent, or their errors were told
                connection.close()

    def deliver(self, delivery: Delivery, *, over: Any) -> None:
        url = unsubscribe.url(self.name, delivery.user_id)
        letter = self.compose(delivery, unsubscribe_url=url)
        domain = parseaddr(project.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
        message = EmailMultiAlternatives(
            subject=" ".join(letter.subject.split()),
            body=letter.text,
            to=[delivery.address],
            headers={
                "Message-ID": f"<{delivery.key}@{domain}>",
                "List-Unsubscribe": f"<{url}>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                "Auto-Submitted": "auto-generated",
            },
        )
        message.attach_alternative(letter.html, "text/html")
        try:
            over.open()
            over.send_messages([message])
        # The errors of smtplib repeat the address, and often the server's words do: neither belongs into a log.
        except smtplib.SMTPRecipientsRefused as error:
            [(code, said), *_] = error.recipients.values()
            raise _of_recipient(code, said) from None
        except smtplib.SMTPDataError as error:
            raise Failed(f"the server answers {error.smtp_code} to the mail") from None
        except smtplib.SMTPResponseException as error:
            raise Unavailable(f"the server answers {error.smtp_code}: {type(error).__name__}") from None
        except OSError as error:
            raise Unavailable(type(error).__name__) from error


def _of_recipient(code: int, said: bytes) -> Exception:
    """What an answer to RCPT means: nobody there, or not now."""
    reason = ENHANCED.match(said)
    if code < PERMANENT:
        return Failed(f"the server answers {code} to the address")
    if reason is None:
        gone = code in NO_MAILBOX
    else:
        subject, detail = int(reason[1]), int(reason[2])
        gone = (subject == 1 and detail not in SENDERS) or (subject, detail) == (2, 1)
    told = f"{code} {reason[0].decode().strip() if reason else ''}".strip()
    return Refused(told) if gone else Failed(f"the server answers {told} to the address")
