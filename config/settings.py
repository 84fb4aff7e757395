"""Settings, one file, driven by the environment; docs/settings.md lists the variables.

A wrong or missing value stops the start with one clear line. Every variable may also come from a file that NAME_FILE
names, as container secrets do: `config.environment` reads both. What URLs say is `config.connections`'.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from config import cache, logs, openapi, schedule
from config.connections import (
    POSTGRESQL,
    SQLITE,
    broker_url,
    celery_broker,
    channel_keys,
    channel_layer,
    channel_prefix,
    database,
    direct_database,
    postgres_layer,
    redis_urls,
)
from config.environment import (
    faults,
    flag,
    one_of,
    origins,
    positive,
    rate,
    read,
    seconds,
    stop,
    text,
    time_zone,
    words,
)
from config.mail import *  # noqa: F403 -- Django's names for mail; `__all__` says which
from config.mail import EMAIL_AFTER_MINUTES
from notifications.hints.redis_urls import database_number, sentinel

BASE_DIR = Path(__file__).resolve().parent.parent

# -- What runs, and for whom ---------------------------------------------------------------------------------------

DEBUG: bool = read(flag, "DEBUG", False)

SECRET_KEY: str = read(text, "SECRET_KEY", "only-for-local-use-with-debug" if DEBUG else "")
if not SECRET_KEY:
    raise stop("SECRET_KEY is not set; set it to 50 random characters, or DEBUG=1 for local use.")
#: An attacker with one signed cookie can try keys at home, as fast as hardware goes.
MIN_KEY = 32
if not DEBUG and len(SECRET_KEY) < MIN_KEY:
    raise stop(f"SECRET_KEY is not usable: it has fewer than {MIN_KEY} characters; set it to 50 random ones.")
#: Keys of before, which are still accepted and sign nothing new: a new key logs nobody out.
SECRET_KEY_FALLBACKS: list[str] = read(words, "SECRET_KEY_FALLBACKS", [])

ALLOWED_HOSTS: list[str] = read(words, "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
if not ALLOWED_HOSTS:
    raise stop("ALLOWED_HOSTS is not set; set it to the names that this service is reached by, or DEBUG=1.")

#: Sites whose pages, beside this site's own, may open a socket or a stream with a user's cookie.
ALLOWED_ORIGINS: list[str] = read(partial(origins, any_origin=DEBUG), "ALLOWED_ORIGINS", [])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "notifications",
    "orders",
    "orders.pages",
    "api",
]

MIDDLEWARE = [
    "config.metrics.Metrics",
    "config.request_id.CallLog",
    "config.metrics.Measured",
    "api.problems.ApiErrors",
    "django.middleware.security.SecurityMiddleware",
    "config.pages_only.ContentSecurityPolicy",
    "config.nul.NoNul",
    "config.pages_only.Sessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.pages_only.Authentication",
    "config.guessing.Guard",
    "config.pages_only.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# -- Database ------------------------------------------------------------------------------------------------------

DATABASES: dict[str, dict[str, Any]] = {
    "default": read(database, "DATABASE_URL", database(f"sqlite:///{BASE_DIR / 'var' / 'orderwire.sqlite3'}"))
}
if DATABASES["default"]["ENGINE"] == SQLITE:
    try:
        Path(DATABASES["default"]["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise stop(f"DATABASE_URL is not usable: {error}") from None
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- Redis, the channel layer, Celery ------------------------------------------------------------------------------

REDIS_URLS: list[str] = read(redis_urls, "REDIS_URL", [])

#: What begins every name in Redis that is this deployment's. Pub/sub knows no database numbers, so the number is in it.
#: Without Redis it names the channel of PostgreSQL.
default_prefix = f"orderwire{database_number(REDIS_URLS[0]) if REDIS_URLS else 0}"
CHANNEL_PREFIX: str = read(channel_prefix, "CHANNEL_PREFIX", default_prefix)
#: Keys that hints are encrypted and signed with; without any, Redis' owner can forge them (docs/operations.md).
CHANNEL_KEYS: list[str] = read(channel_keys, "CHANNEL_KEYS", [])
#: What carries hints over Redis: our layer, or the pub/sub or the core layer of channels-redis.
CHANNEL_LAYER: str = read(one_of("redis", "pubsub", "core"), "CHANNEL_LAYER", "redis")

#: Connections to PostgreSQL that hints take in each process.
HINT_CONNECTIONS = 0
if REDIS_URLS:
    CHANNEL_LAYERS: dict[str, Any] = {
        "default": channel_layer(CHANNEL_LAYER, REDIS_URLS, prefix=CHANNEL_PREFIX, keys=CHANNEL_KEYS)
    }
elif DATABASES["default"]["ENGINE"] == POSTGRESQL:
    if CHANNEL_KEYS:
        raise stop("CHANNEL_KEYS is not usable without REDIS_URL: PostgreSQL carries no notification in its hints.")
    #: Where processes hear each other without Redis: not through a pooler that gives a connection away in between.
    HINTS_DATABASE: dict[str, Any] = read(direct_database, "HINTS_DATABASE_URL", DATABASES["default"])
    CHANNEL_LAYERS = {"default": postgres_layer(HINTS_DATABASE, prefix=CHANNEL_PREFIX)}
    HINT_CONNECTIONS = 1
else:
    # One channel serves the whole process here, so its capacity is that of all users' hints.
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 10_000}}}

#: Hints that go wrong on purpose, to see that nothing is lost by it: docs/faults.md.
HINT_FAULTS: dict[str, Any] = read(faults, "HINT_FAULTS", {})
if HINT_FAULTS:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "notifications.hints.faults.FaultyLayer",
            "CONFIG": {"layer": CHANNEL_LAYERS["default"], **HINT_FAULTS},
        }
    }

# The cache counts requests (api/throttling.py) and keeps nothing that cannot be lost. Django's backend knows no
# Sentinel: there, as without Redis, each process counts for itself.
in_redis = bool(REDIS_URLS) and sentinel(REDIS_URLS[0]) is None
CACHES: dict[str, Any] = {"default": cache.redis(REDIS_URLS[0], CHANNEL_PREFIX) if in_redis else cache.IN_PROCESS}

CELERY_BROKER_URL: str | None = read(broker_url, "CELERY_BROKER_URL", None)
#: Seconds until Redis gives an unacknowledged task to another worker: above the time limit, or tasks run twice at once.
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
    "visibility_timeout": 360,
    # Workers look for such tasks every 10 s; kombu's default skips nine of ten looks.
    "unacked_restore_throttle": 1,
}
if CELERY_BROKER_URL is None and REDIS_URLS:
    CELERY_BROKER_URL, options = celery_broker(REDIS_URLS[0])
    CELERY_BROKER_TRANSPORT_OPTIONS |= options
CELERY_TASK_ALWAYS_EAGER = CELERY_BROKER_URL is None
CELERY_TASK_EAGER_PROPAGATES = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = "UTC"
# Celery's defaults, said: with pickle among them, anybody who reaches the broker could run code in every worker.
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# A task is short and may run twice: it is acknowledged when it is done, and a worker holds no second one back.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 300
CELERY_TASK_SOFT_TIME_LIMIT = 270
# On SIGTERM a running task may end; Celery's default of 0 kills it.
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

#: Whether a customer is told that the day of `estimated_delivery` has passed and the order has not arrived.
DELAY_NOTICES: bool = read(flag, "DELAY_NOTICES", True)
#: Days after which a closed order is deleted; without it none ever is.
ORDER_RETENTION_DAYS: int | None = read(partial(positive, at_most=36_500), "ORDER_RETENTION_DAYS", None)
CELERY_BEAT_SCHEDULE = schedule.beat(
    delay_notices=DELAY_NOTICES,
    order_retention=ORDER_RETENTION_DAYS is not None,
    channels=bool(EMAIL_AFTER_MINUTES),
)

# -- The stream and its sockets ------------------------------------------------------------------------------------

#: Days for which notifications are kept; a client that comes back later is told to fetch a snapshot.
NOTIFICATION_RETENTION_DAYS: int = read(partial(positive, at_most=36_500), "NOTIFICATION_RETENTION_DAYS", 30)
#: Seconds between two looks of a process at what no hint announced. More than ten a second would be load and no help.
NOTIFICATION_TAIL_SECONDS: float = read(partial(seconds, at_least=0.1), "NOTIFICATION_TAIL_SECONDS", 1.0)
#: Seconds for which a client may take nothing of what waits for it, before it is closed with 4001.
STALL_SECONDS: float = read(seconds, "STALL_SECONDS", 30.0)
#: Seconds over which a process that stops says good-bye to its sockets.
DRAIN_SECONDS: float = read(seconds, "DRAIN_SECONDS", 10.0)
#: Sockets of one user, and of all, in one process.
MAX_SOCKETS_PER_USER: int = read(positive, "MAX_SOCKETS_PER_USER", 10)
MAX_SOCKETS: int = read(positive, "MAX_SOCKETS", 20_000)
#: Seconds for which a connection that a ticket opened lasts without another ticket: a year at most.
TICKET_CONNECTION_SECONDS: int = read(partial(positive, at_most=31_536_000), "TICKET_CONNECTION_SECONDS", 3600)

# -- HTTP ----------------------------------------------------------------------------------------------------------

#: What Prometheus shows to read /metrics. Without it nobody may, but for DEBUG.
METRICS_TOKEN: str = read(text, "METRICS_TOKEN", "")

#: Requests of one token to the API, and seconds: a bound for a caller that runs wild, and not a quota. A system with
#: more changes than that sends them in batches.
API_RATE: tuple[int, int] | None = read(rate, "API_RATE", (6_000, 60))

#: Log-ins that may be tried for one account, and from one address. NIST SP 800-63B has at most 100 failures in a row.
LOGIN_RATE: tuple[int, int] | None = read(rate, "LOGIN_RATE", (20, 3600))
LOGIN_RATE_PER_ADDRESS: tuple[int, int] | None = read(rate, "LOGIN_RATE_PER_ADDRESS", (100, 3600))

#: Threads for Django's HTTP side in each process; each keeps one database connection. While one waits for the database
#: another one runs; beyond three or four they would wait for Python's interpreter lock. With two, and the two for
#: sockets, 20 processes have 80 of the 97 connections that PostgreSQL has for them unless it is told otherwise.
WEB_THREADS: int = read(positive, "WEB_THREADS", 2)


# Bounds that keep one client, or a server that hangs, from stopping a process; docs/operations.md lists them all.

#: Seconds for which a request may occupy a thread. Then its stack is logged and its database connection is cut. The
#: largest batch takes 2 s here, and nginx gives up on an answer after 60.
REQUEST_SECONDS: float = read(partial(seconds, at_least=0.1), "REQUEST_SECONDS", 30.0)
#: Seconds for one statement of PostgreSQL in a web process. None of ours takes one second, and a thread that waits for
#: longer than this is better used for somebody else.
DATABASE_SECONDS: float = read(partial(seconds, at_least=0.1), "DATABASE_SECONDS", 15.0)
#: Seconds for the head of a request, from the connection's beginning or from the first byte of the next request: a
#: phone on a bad line needs two or three, and 20 is what Apache gives.
HEAD_SECONDS: float = read(partial(seconds, at_least=0.1), "HEAD_SECONDS", 20.0)
#: Seconds without progress after which an answer that is not read is given up. As for sockets: STALL_SECONDS.
SEND_SECONDS: float = read(partial(seconds, at_least=0.1), "SEND_SECONDS", 30.0)
#: MiB of all bodies that a process holds at once, and as many of answers that wait for their readers: 25 of the largest
#: bodies, or 300 batches of a thousand changes.
HELD_MEGABYTES: int = read(positive, "HELD_MEGABYTES", 64)
#: Connections of one address in one process, a trusted proxy's not counted: a large office behind one address has some
#: hundreds of browsers.
MAX_CONNECTIONS_PER_ADDRESS: int = read(positive, "MAX_CONNECTIONS_PER_ADDRESS", 1_000)

AUTHENTICATION_BACKENDS = ["config.guessing.Backend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

#: Plain http is refused outside DEBUG; behind a proxy that speaks TLS, uvicorn learns of it by X-Forwarded-Proto.
HTTPS_ONLY: bool = read(flag, "HTTPS_ONLY", not DEBUG)
SECURE_SSL_REDIRECT = HTTPS_ONLY
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
# Both speak for names that are not ours: a subdomain of the shop must not decide for the shop's whole domain.
HSTS_INCLUDE_SUBDOMAINS: bool = read(flag, "HSTS_INCLUDE_SUBDOMAINS", False)
HSTS_PRELOAD: bool = read(flag, "HSTS_PRELOAD", False)
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # which recommend both to everybody
SECURE_HSTS_INCLUDE_SUBDOMAINS = HSTS_INCLUDE_SUBDOMAINS
SECURE_HSTS_PRELOAD = HSTS_PRELOAD
# Names of our own: two Django sites on one host would log each other's users out. With __Host- a browser takes the
# cookie from this host over https alone, and no page of another subdomain can set it (RFC 6265bis, 4.1.3.2).
COOKIE_PREFIX = "__Host-orderwire" if HTTPS_ONLY else "orderwire"
SESSION_COOKIE_NAME = f"{COOKIE_PREFIX}_session"
CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}_csrf"
DEVICE_COOKIE_NAME = f"{COOKIE_PREFIX}_device"
SESSION_COOKIE_SECURE = HTTPS_ONLY
CSRF_COOKIE_SECURE = HTTPS_ONLY
# Behind a proxy on another port a form's Origin is not the Host that arrives here; the origins whose pages may open a
# socket with a user's cookie may send a form with it as well.
CSRF_TRUSTED_ORIGINS = [origin for origin in ALLOWED_ORIGINS if origin != "*"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Everything comes from here; the socket too ('self' covers ws and wss of the same host in current browsers).
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "manifest-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
STATICFILES_DIRS = [("orderwire", BASE_DIR / app / "client") for app in ("notifications", "orders")]
WHITENOISE_USE_FINDERS = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "config.storage.StaticFilesStorage"
    },
}

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "api.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "api.negotiation.Negotiation",
    # JSON is all there is to ask for; ?format=xml would be a 404.
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_METADATA_CLASS": "api.negotiation.AllowedMethods",
    "LIST_SERIALIZER_ERRORS_AS_DICT": True,
    "DEFAULT_SCHEMA_CLASS": "api.schema.Operations",
    "DEFAULT_THROTTLE_CLASSES": ["api.throttling.ApiRate"],
    "EXCEPTION_HANDLER": "api.problems.handle",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

SPECTACULAR_SETTINGS: dict[str, Any] = openapi.SETTINGS

# -- Language, time, logs ------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
#: Of the shop and its customers: it says when a day is over. What is sent and stored is in UTC.
TIME_ZONE: str = read(time_zone, "TIME_ZONE", "UTC")
USE_I18N = True
USE_TZ = True

LOG_LEVEL: str = read(one_of("debug", "info", "warning", "error", "critical"), "LOG_LEVEL", "info").upper()
LOG_FORMAT: str = read(one_of("console", "json"), "LOG_FORMAT", "console")
LOGGING = logs.configuration(level=LOG_LEVEL, form=LOG_FORMAT)
