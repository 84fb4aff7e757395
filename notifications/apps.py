"""The engine: numbered streams, hints, delivery, sockets, access. Knows nothing of what is told."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class NotificationsConfig(AppConfig):
    name = "notifications"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from notifications.access import memory, revocation
        from notifications.channels import intake  # noqa: F401  (listens to streams that begin anew)
        from notifications.hints import serializer  # noqa: F401  (channels-redis' layers find it by its name)
        from notifications.log import beginnings  # noqa: F401  (listens to users)
        from notifications.personal import own  # noqa: F401  (declares the engine's own tables, before any other)

        revocation.listen()
        memory.listen()
        autodiscover_modules("personal")
