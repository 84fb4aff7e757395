"""The notifications room."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from notifications import receivers, revocation  # noqa: F401  (they listen to orders, sessions, tokens, users)
