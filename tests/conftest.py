"""The cast, the served deployments and the browser that tests ask for by name.

In-process tests take `alice` the buyer, `bob` the stranger and `staff`, rows of the test database. Acceptance, browser
and fault tests take `web`, one deployment that the session shares, or `deploy`, which makes another for a test that
breaks it.
"""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Protocol

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, Permission
from django.db import connection
from playwright.async_api import Browser, Page, async_playwright

from tests.deployment import Deployment, Web, make_template
from tests.servers import create_database, drop_database

PASSWORD = "demo"


# The test database.


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    embedded: bool, django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite in a file, as it is served: in memory, connections lock each other's tables and do not wait."""
    if embedded:
        name = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
        connection.settings_dict["TEST"]["NAME"] = name


# The cast.


@pytest.fixture(autouse=True)
def _fast_passwords(settings: Any) -> None:
    """A password takes a quarter of a second to hash, on purpose; the cast's need not be that safe."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def alice(db: None) -> AbstractUser:
    return get_user_model().objects.create_user("alice", password=PASSWORD)


@pytest.fixture
def bob(db: None) -> AbstractUser:
    return get_user_model().objects.create_user("bob", password=PASSWORD)


@pytest.fixture
def staff(db: None) -> AbstractUser:
    """May do to orders and notifications what there is to do, by permissions and not as a superuser."""
    user = get_user_model().objects.create_user("staff", password=PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label__in=["orders", "notifications"]))
    return user


# Served deployments.


class Deploy(Protocol):
    def __call__(self, **settings: str | None) -> Deployment: ...


@pytest.fixture(scope="session")
def embedded(request: pytest.FixtureRequest) -> bool:
    """Whether this run tests the embedded default."""
    return bool(request.config.getoption("--embedded"))


@pytest.fixture(scope="session")
def template(embedded: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a migrated database with the demo data, that every deployment of the session is copied from."""
    if embedded:
        url = f"sqlite:///{tmp_path_factory.mktemp('template') / 'orderwire.sqlite3'}"
        make_template(url)
        yield url
        return
    server = os.environ["DATABASE_URL"]
    url = create_database(server)
    try:
        make_template(url)
        yield url
    finally:
        drop_database(server, url)


@pytest.fixture(scope="session")
def _deploy(embedded: bool, template: str) -> Callable[[ExitStack], Deploy]:
    def bind(stack: ExitStack) -> Deploy:
        def deploy(**settings: str | None) -> Deployment:
            server = None if embedded else os.environ["DATABASE_URL"]
            return stack.enter_context(Deployment(template=template, server=server, **settings))

        return deploy

    return bind


@pytest.fixture
def deploy(_deploy: Callable[[ExitStack], Deploy]) -> Iterator[Deploy]:
    """Makes a deployment of the test's own, with the given settings; ended with the test."""
    with ExitStack() as stack:
        yield _deploy(stack)


@pytest.fixture(scope="session")
def deployment(_deploy: Callable[[ExitStack], Deploy]) -> Iterator[Deployment]:
    """The deployment that the session's tests share. They leave it running and count only what is theirs."""
    with ExitStack() as stack:
        yield _deploy(stack)()


@pytest.fixture(scope="session")
def web(deployment: Deployment) -> Web:
    """The shared deployment's web process."""
    return deployment.web()


# The browser.

# As root in a container there is no sandbox to be had; the others keep Chromium from calling home.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of an installed Chromium. Without one the test is skipped, except in CI, where every test runs."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path:
        return path
    missing = f"browser tests need an installed Chromium; none of {', '.join(names)} is on the PATH"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """The Chromium that the session's tests share. They open contexts of their own in it, which share nothing."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        try:
            yield started
        finally:
            await started.close()


@pytest_asyncio.fixture(loop_scope="session")
async def new_page(browser: Browser, web: Web) -> AsyncIterator[Callable[..., Any]]:
    """Opens pages, each in a context of its own, as a person with a browser of their own. Relative URLs are `web`'s.

    A script error on any of them fails the test when it ends.
    """
    errors: list[str] = []
    async with AsyncExitStack() as stack:

        async def open_page(**options: Any) -> Page:
            context = await browser.new_context(**{"base_url": web.url, **options})
            stack.push_async_callback(context.close)
            page = await context.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            return page

        yield open_page
    assert not errors, f"scripts failed: {errors}"


@pytest_asyncio.fixture(loop_scope="session")
async def page(new_page: Callable[..., Any]) -> Page:
    """One page of `web`, nobody logged in."""
    opened: Page = await new_page()
    return opened
