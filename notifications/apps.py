"""The engine: numbered streams, hints, delivery, sockets, access. Knows nothing of what is told."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from notifications.access import memory, revocation
        from notifications.hints import serializer  # noqa: F401  (channels-redis' layers find it by its name)
        from notifications.log import beginnings  # noqa: F401  (listens to users)

        revocation.listen()
        memory.listen()
