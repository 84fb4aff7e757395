"""How hints are written: channels-redis' msgpack, encrypted if keys are set, and safe against what others write.

Registered with channels-redis under `FORMAT`, for our layer and for channels-redis' own. Redis is a boundary: whoever
reaches it can publish anything. What cannot be read, is encrypted with no key of ours, or is no message becomes
`REFUSED`, which no consumer knows; an exception here would end, or hold up, the listening for everybody.
"""

from __future__ import annotations

import logging
from typing import Any

from channels_redis.serializers import MsgPackSerializer, registry

logger = logging.getLogger(__name__)

#: The name of the format in channels-redis' registry: `serializer_format`.
FORMAT = "hints"
#: What a message is read as that cannot be read: for no user, of no things, and of a type that nobody knows.
REFUSED: dict[str, Any] = {"type": "hint.refused", "user": None, "keys": []}


class HintSerializer(MsgPackSerializer):
    """Writes messages as channels-redis does; reads them and never raises."""

    def deserialize(self, message: bytes) -> dict[str, Any]:
        try:
            found = super().deserialize(message)
        except Exception as error:  # of msgpack, of cryptography: one answer to all of them
            logger.warning("A message on Redis is not one of ours, and is dropped: %r", error)
            return dict(REFUSED)
        if not isinstance(found, dict) or not isinstance(found.get("type"), str):
            logger.warning("A message on Redis is not one of ours, and is dropped: it has no type.")
            return dict(REFUSED)
        return found


registry.register_serializer(FORMAT, HintSerializer)
