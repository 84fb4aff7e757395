"""The channel layer that carries hints between processes: Redis pub/sub, with limits on how long it may hang.

Named in `settings.CHANNEL_LAYERS`; everybody else asks `channels.layers.get_channel_layer()`, and any other layer
works too. `hub` listens on one channel for the whole process, so each message is decoded once, however many sockets it
is for.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from channels_redis.pubsub import RedisPubSubChannelLayer

#: Seconds for one answer of Redis. redis-py's default of 5 is too patient for a hint, and None would hang for ever on a
#: Redis that accepts and never answers. Waiting for the next message is not counted: the layer polls for that.
SOCKET_TIMEOUT = 2.0
#: Seconds to connect: on a refused connection the answer comes at once, on a lost host never.
CONNECT_TIMEOUT = 1.0
#: redis-py's pool of 100 raises when it is empty, and thousands may come back at once after a deploy.
MAX_CONNECTIONS = 1_000


class RedisLayer(RedisPubSubChannelLayer):
    """channels-redis' pub/sub layer on `urls`; several URLs share the groups out among them.

    `redis://`, `rediss://` and `unix://` are read by redis-py; `sentinel://host:port[,host:port]/service` is Sentinel.
    """

    def __init__(self, urls: list[str], **kwargs: Any) -> None:
        super().__init__(hosts=[_host(url) for url in urls], **kwargs)


def _host(url: str) -> dict[str, Any]:
    """The arguments of a connection pool, as channels-redis takes them."""
    limits = {"socket_timeout": SOCKET_TIMEOUT, "socket_connect_timeout": CONNECT_TIMEOUT}
    parts = urlsplit(url)
    if parts.scheme != "sentinel":
        return {"address": url, "max_connections": MAX_CONNECTIONS, **limits}
    login, _, hosts = parts.netloc.rpartition("@")
    password = unquote(login.partition(":")[2]) or None
    sentinels = []
    for host in hosts.split(","):
        name, _, port = host.partition(":")
        sentinels.append((name, int(port or 26379)))
    options = dict(parse_qsl(parts.query))
    return {
        "sentinels": sentinels,
        "master_name": parts.path.strip("/") or "mymaster",
        "password": password,
        "db": int(options.get("db", 0)),
        **limits,
    }
