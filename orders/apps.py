"""Orders: their rows and rules, and on top of them who is told what."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "orders"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from orders import mail, notify, renaming  # noqa: F401  (they register: receivers, a channel)
