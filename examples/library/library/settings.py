"""The library's settings: SQLite and memory, or the PostgreSQL of DATABASE_URL and the Redis of REDIS_URL."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from library import ENGINE

BASE_DIR = Path(__file__).resolve().parent.parent
DEBUG = True
SECRET_KEY = os.environ.get("SECRET_KEY", "only-for-local-use")
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
USE_TZ = True
LOGIN_REDIRECT_URL = "shelf"
LOGIN_URL = "login"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "notifications",
    "lending",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
AUTH_USER_MODEL = "lending.Reader"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "library.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
STATIC_URL = "static/"
STATICFILES_DIRS = [("notifications", ENGINE / "notifications" / "client")]

database = urlsplit(os.environ.get("DATABASE_URL") or f"sqlite:///{BASE_DIR / 'library.sqlite3'}")
if database.scheme == "sqlite":
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": database.path,
            "OPTIONS": {
                # A write transaction takes its lock at the start: one that read first could not wait for it, only fail.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database.path.lstrip("/"),
            "USER": unquote(database.username or ""),
            "PASSWORD": unquote(database.password or ""),
            "HOST": database.hostname or "",
            "PORT": str(database.port or ""),
        }
    }

REDIS_URL = os.environ.get("REDIS_URL")
if REDIS_URL:
    CHANNEL_LAYERS = {"default": {"BACKEND": "notifications.hints.layers.RedisLayer", "CONFIG": {"urls": [REDIS_URL]}}}
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 10_000}}}
