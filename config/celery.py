"""The Celery application: `celery -A config worker` and `celery -A config beat`."""

import logging.config
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

from config import task_log  # noqa: F401  (it connects its receivers)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("orderwire")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _log_as_everything_else_does(**_: Any) -> None:
    """Celery's own logging, which this takes the place of, has a level that lets libraries write tasks' values."""
    logging.config.dictConfig(settings.LOGGING)
