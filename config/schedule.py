"""What Celery's beat runs, and how often. Each task is safe to run twice; `manage.py housekeeping` runs all of them."""

from __future__ import annotations

from typing import Any

#: Seconds. What is over may stay for an hour, and a day that has ended is noticed within one.
HOURLY = 3600.0
#: What waits for minutes to be seen is sent within one more.
EACH_MINUTE = 60.0


def beat(*, delay_notices: bool, order_retention: bool, channels: bool) -> dict[str, dict[str, Any]]:
    """`CELERY_BEAT_SCHEDULE`, as far as the settings want it."""
    tasks = {
        "trim": "notifications.trim",
        "clean-up": "notifications.clean_up",
        "idempotency-keys": "api.delete_expired_idempotency_keys",
    }
    if delay_notices:
        tasks["delays"] = "orders.announce_delays"
    if order_retention:
        tasks["old-orders"] = "orders.delete_old_orders"
    schedule: dict[str, dict[str, Any]] = {name: {"task": task, "schedule": HOURLY} for name, task in tasks.items()}
    if channels:
        schedule["channels"] = {"task": "notifications.deliver", "schedule": EACH_MINUTE}
    return schedule
