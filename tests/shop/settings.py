"""A shop as its owner has it: Django, its own user model, CSRF on, and a Content-Security-Policy. Only tests run it."""

import os
from pathlib import Path

from tests.shop import document

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
ORDERWIRE_TOKEN = os.environ["ORDERWIRE_TOKEN"]

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "tests.shop"]
MIDDLEWARE = [
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "tests.shop.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    },
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(os.environ["SHOP_FOLDER"]) / "shop.sqlite3"}
}
AUTH_USER_MODEL = "shop.Customer"
LOGIN_URL = "/log-in"
LOGIN_REDIRECT_URL = "/"
# A password takes a quarter of a second to hash, on purpose; a test's customer has no need of that.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

exec(document.python("from csp.constants import"))  # noqa: S102 -- our own document
