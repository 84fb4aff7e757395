"""Another project on the engine: examples/library, whose readers have UUIDs and log in by e-mail address."""

from __future__ import annotations

import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection

from tests.deployment import machine_environment, run
from tests.process import ROOT, Process
from tests.servers import Redis, create_database, drop_database
from tests.sockets import close_code, frame, socket

FOLDER = ROOT / "examples" / "library"
ADA = "ada@example.org"


class Library(Process):
    """The library's one web process: plain uvicorn."""

    name = "library"

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__()
        self.env = env

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        words = f"--app-dir {FOLDER} --host 127.0.0.1 --port {self.port} --lifespan on library.asgi:application"
        return [sys.executable, "-m", "uvicorn", *words.split()]

    def environment(self) -> dict[str, str]:
        return self.env

    def ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/login", timeout=5).close()  # noqa: S310 -- our own URL
        except urllib.error.HTTPError as error:
            raise AssertionError(f"/login answers {error.code}\n{self.log_tail()}") from error
        except OSError:
            return False
        return True

    def manage(self, *words: str) -> str:
        return run(self.env, [sys.executable, str(FOLDER / "manage.py"), *words])

    def log_in(self) -> dict[str, str]:
        """The headers of a browser in which ada has logged in."""
        with httpx.Client(base_url=self.url, follow_redirects=True) as client:
            form = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get("/login").text)
            assert form
            given = {"username": ADA, "password": "library", "csrfmiddlewaretoken": form[1]}
            answer = client.post("/login", data=given)
            assert answer.url.path == "/", answer.text
            cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
            return {"Cookie": cookies, "Origin": self.url, "X-CSRFToken": client.cookies["csrftoken"]}


@pytest.fixture
def redis(embedded: bool) -> Iterator[Redis | None]:
    if embedded:
        yield None
        return
    with Redis() as server:
        yield server


@pytest.fixture
def library(redis: Redis | None, tmp_path: Path) -> Iterator[Library]:
    env = machine_environment()
    if redis is None:
        env |= {"DATABASE_URL": f"sqlite:///{tmp_path / 'library.sqlite3'}"}
    else:
        env |= {"DATABASE_URL": create_database(os.environ["DATABASE_URL"]), "REDIS_URL": redis.url}
    try:
        library = Library(env)
        library.manage("migrate", "--verbosity", "0")
        library.manage("set_aside", ADA)
        with library:
            yield library
    finally:
        if redis is not None:
            drop_database(os.environ["DATABASE_URL"], env["DATABASE_URL"])


async def gets(connection: ClientConnection, count: int) -> list[tuple[int, str]]:
    """The next notifications, as numbers and titles."""
    received = [await frame(connection, "notification") for _ in range(count)]
    return [(found["seq"], found["book"]["title"]) for found in received]


async def test_readers_get_live_numbered_and_resumable_notifications(library: Library, redis: Redis | None) -> None:
    ada = library.log_in()
    async with socket(library, headers=ada) as connection:
        welcome = await frame(connection, "welcome")
        assert (welcome["user"], welcome["head"]) == (ADA, 0)
        library.manage("set_aside", ADA, "Emma", "Persuasion")
        assert await gets(connection, 2) == [(1, "Emma"), (2, "Persuasion")]
    library.manage("set_aside", ADA, "Middlemarch")
    async with socket(library, query=f"?after=2&stream={welcome['stream']}", headers=ada) as connection:
        assert (await frame(connection))["unread"] == 3
        assert await gets(connection, 1) == [(3, "Middlemarch")]
        if redis is not None:
            redis.stop()
        library.manage("set_aside", ADA, "Romola")
        assert await gets(connection, 1) == [(4, "Romola")]
        if redis is not None:
            redis.start()
        library.manage("set_aside", ADA, "Evelina")
        assert await gets(connection, 1) == [(5, "Evelina")]
        async with httpx.AsyncClient(base_url=library.url, headers=ada) as client:
            assert (await client.post("/logout")).status_code == 302
        assert await close_code(connection) == 4502


async def test_an_event_stream_resumes_by_its_last_id(library: Library) -> None:
    library.manage("set_aside", ADA, "Emma", "Persuasion", "Middlemarch")
    headers = library.log_in() | {"Last-Event-ID": "1"}
    lines: list[str] = []
    async with (
        httpx.AsyncClient(base_url=library.url, headers=headers) as client,
        client.stream("GET", "/stream") as answer,
    ):
        async for line in answer.aiter_lines():
            lines.append(line)
            if "Middlemarch" in line:
                break
    assert [line for line in lines if line.startswith("id: ")] == ["id: 1", "id: 2", "id: 3"]


def test_the_page_names_its_position_and_whose_it_is(library: Library) -> None:
    library.manage("set_aside", ADA, "Emma")
    page = httpx.get(library.url, headers=library.log_in()).text
    assert f'data-user="{ADA}" data-after="1"' in page
    assert "Emma</li>" in page


def test_a_fresh_project_has_nothing_to_be_told(library: Library) -> None:
    assert "no issues" in library.manage("check")
    assert "No changes" in library.manage("makemigrations", "--check", "--dry-run")
    library.manage("tidy_notifications")
