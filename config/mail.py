"""The settings of e-mail: when it is sent, through what, from whom, and where its links lead. For `settings`.

`EMAIL_URL` becomes Django's own names. A shop that sends through a service's API has its backend (django-anymail's are
such) in EMAIL_BACKEND, and what that needs in a settings module of its own.
"""

from __future__ import annotations

from email.utils import parseaddr
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from config.environment import flag, origins, positive, read, seconds, stop, text

__all__ = [
    "DEFAULT_FROM_EMAIL",
    "EMAIL_AFTER_MINUTES",
    "EMAIL_BACKEND",
    "EMAIL_HOST",
    "EMAIL_HOST_PASSWORD",
    "EMAIL_HOST_USER",
    "EMAIL_PORT",
    "EMAIL_TIMEOUT",
    "EMAIL_URL",
    "EMAIL_USE_SSL",
    "EMAIL_USE_TLS",
    "SITE_URL",
]

SMTP = "django.core.mail.backends.smtp.EmailBackend"
#: Ports that servers for mail of one's own listen on (RFC 8314, 3.3; RFC 6409); plain is for a relay on this network.
PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


def smtp(url: str) -> dict[str, Any]:
    """`smtps://user:password@host:465`: TLS from the beginning; `smtp+tls` asks for it (STARTTLS), `smtp` has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # which may repeat the login
        raise ValueError("this is no URL with a host and perhaps a port") from None
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"a URL such as smtps://user:password@host:465 is needed; it begins with {', '.join(PORTS)}")
    return {
        "host": parts.hostname,
        "port": port or PORTS[parts.scheme],
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "tls": parts.scheme == "smtp+tls",
        "ssl": parts.scheme == "smtps",
    }


def sender(value: str) -> str:
    """An address, perhaps with a name: `The Shop <orders@shop.example>`."""
    try:
        validate_email(parseaddr(value)[1])
    except ValidationError:
        raise ValueError("an address such as The Shop <orders@shop.example> is needed") from None
    return value


def site(value: str) -> str:
    """One origin."""
    found = origins(value)
    if len(found) != 1:
        raise ValueError("one origin such as https://orders.shop.example is needed")
    return found[0]


def minutes(value: str) -> int:
    """0 for never; a week at most, after which nothing is news."""
    return 0 if value == "0" else positive(value, at_most=10_080)


#: Minutes for which a notification waits to be seen before it is sent by e-mail; 0: none ever is.
EMAIL_AFTER_MINUTES: int = read(minutes, "EMAIL_AFTER_MINUTES", 0)
#: Where customers find the pages: what links in e-mails begin with.
SITE_URL: str = read(site, "SITE_URL", "")
DEFAULT_FROM_EMAIL: str = read(sender, "DEFAULT_FROM_EMAIL", "orders@localhost")

EMAIL_URL: dict[str, Any] | None = read(smtp, "EMAIL_URL", None)
server = EMAIL_URL or smtp("smtp://localhost")
#: With DEBUG and without a server mails are printed.
debug = read(flag, "DEBUG", False)
default_backend = SMTP if EMAIL_URL or not debug else "django.core.mail.backends.console.EmailBackend"
EMAIL_BACKEND: str = read(text, "EMAIL_BACKEND", default_backend)
EMAIL_HOST: str = server["host"]
EMAIL_PORT: int = server["port"]
EMAIL_HOST_USER: str = server["user"]
EMAIL_HOST_PASSWORD: str = server["password"]
EMAIL_USE_TLS: bool = server["tls"]
EMAIL_USE_SSL: bool = server["ssl"]
#: Seconds for one answer of the server; Django would wait for ever. A mail takes six answers, and a task has 270 s.
EMAIL_TIMEOUT: float = read(partial(seconds, at_least=0.1), "EMAIL_TIMEOUT", 10.0)

if EMAIL_AFTER_MINUTES:
    if not SITE_URL:
        raise stop("SITE_URL is not set; e-mails link to the site: https://orders.shop.example.")
    if DEFAULT_FROM_EMAIL == "orders@localhost" and not debug:
        raise stop("DEFAULT_FROM_EMAIL is not set; e-mails need a sender: The Shop <orders@shop.example>.")
    if EMAIL_URL is None and EMAIL_BACKEND == SMTP:
        raise stop("EMAIL_URL is not set; e-mails need a server: smtps://user:password@host:465.")
