"""How this project logs: one line an event on standard error, for people or as an object, with the request's id.

gunicorn and uvicorn have loggers of their own, in deploy/gunicorn.conf.py.
"""

from __future__ import annotations

from typing import Any


def configuration(*, level: str, form: str) -> dict[str, Any]:
    """`LOGGING` for a level, such as `INFO`, and a form, `console` or `json`.

    At DEBUG, libraries log what passes through them: headers and frames with cookies, tokens and tickets, statements
    and tasks with their values. So DEBUG is for our own rooms, and libraries stay at INFO.
    """
    libraries = "INFO" if level == "DEBUG" else level
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "console": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"},
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "format": "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            },
        },
        "filters": {"request_id": {"()": "config.request_id.RequestIdFilter"}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": form, "filters": ["request_id"]},
        },
        "root": {"handlers": ["stderr"], "level": libraries},
        "loggers": {
            **{room: {"level": level} for room in ("api", "config", "notifications", "orders")},
            # Django's own handlers would print every line a second time.
            "django": {"handlers": [], "level": libraries},
            # Refusals are answers, not incidents.
            "django.request": {"level": "ERROR"},
        },
    }
