"""The engine's settings, each with a default: a project names in its Django settings only what it wants otherwise.

Read at the time of use, so a test that changes Django's settings changes these. Every module of the engine asks here
and never `django.conf` for a setting of the engine's own; docs/engine.md lists them.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from django.conf import settings as project

T = TypeVar("T")


class Setting(Generic[T]):
    """The project's value of the same name, otherwise the default."""

    def __init__(self, default: T) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> T:
        value: T = getattr(project, self.name, self.default)
        return value


class Engine:
    """All settings of the engine."""

    #: Exact origins, beside the site itself, whose pages may open a socket or a stream with the user's cookie.
    ALLOWED_ORIGINS = Setting[list[str]]([])
    #: Days for which notifications are kept; a client that comes back later is told to fetch a snapshot.
    NOTIFICATION_RETENTION_DAYS = Setting(30)
    #: Seconds between two looks of a process at what no hint announced.
    NOTIFICATION_TAIL_SECONDS = Setting(1.0)
    #: Seconds for which a client may take nothing of what waits for it, before it is closed with 4001.
    STALL_SECONDS = Setting(30.0)
    #: Connections of one user, and of all, in one process.
    MAX_SOCKETS_PER_USER = Setting(10)
    MAX_SOCKETS = Setting(20_000)
    #: Seconds for which a connection that a ticket opened lasts without another ticket.
    TICKET_CONNECTION_SECONDS = Setting(3600)
    #: Minutes for which a notification waits to be seen before it is sent by e-mail; 0: none ever is.
    EMAIL_AFTER_MINUTES = Setting(0)
    #: Where users find the project's pages, `https://site.example`: what links in e-mails begin with.
    SITE_URL = Setting("")
    #: Seconds for a call of the event loop's to the database, after which its connection is cut.
    DATABASE_SECONDS = Setting(15.0)


settings = Engine()


def defaults() -> dict[str, Any]:
    """The default of each setting, by its name."""
    return {name: setting.default for name, setting in vars(Engine).items() if isinstance(setting, Setting)}
