"""Settings, and what ties the rooms to the servers that run them."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
