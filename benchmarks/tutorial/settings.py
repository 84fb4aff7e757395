"""Orderwire's settings with one of channels-redis' own layers: TUTORIAL_LAYER is `core` or `pubsub`."""

import os

from config.settings import *  # noqa: F403 -- everything but the layer is the same
from config.settings import REDIS_URLS

BACKENDS = {"core": "channels_redis.core.RedisChannelLayer", "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer"}
CHANNEL_LAYERS = {"default": {"BACKEND": BACKENDS[os.environ["TUTORIAL_LAYER"]], "CONFIG": {"hosts": REDIS_URLS}}}
