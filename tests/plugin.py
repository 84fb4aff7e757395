"""Starts PostgreSQL and Redis for the session, before pytest-django reads the settings.

Named in `addopts`, since a conftest.py is read too late for that. DATABASE_URL and REDIS_URL, where set, are used as
they are. With pytest-xdist all processes share one PostgreSQL, in databases of their own, and each has its own Redis:
Redis' channels, unlike its keys, are not divided by database. Two sessions at once share nothing.

`--embedded` is the other way to run: SQLite, an in-memory layer, no server at all.
"""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers import Postgres, Redis


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--embedded",
        action="store_true",
        help="test the embedded default: SQLite, in-memory layer, no servers",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    options = parser.parse_known_args(args)
    stack = ExitStack()
    early_config.add_cleanup(stack.close)
    os.environ.setdefault("DEBUG", "1")
    if options.embedded:
        os.environ.pop("REDIS_URL", None)
        os.environ["DATABASE_URL"] = f"sqlite:///{_sqlite_file(stack)}"
    elif not (options.version or options.help):
        if "DATABASE_URL" not in os.environ:
            os.environ["DATABASE_URL"] = stack.enter_context(Postgres()).url
        # Under xdist the process that hands out the tests runs none, and needs no Redis.
        hands_out = bool(getattr(options, "numprocesses", None)) and "PYTEST_XDIST_WORKER" not in os.environ
        if "REDIS_URL" not in os.environ and not hands_out:
            os.environ["REDIS_URL"] = stack.enter_context(Redis()).url
    return (yield)


def _sqlite_file(stack: ExitStack) -> Path:
    """Keeps a developer's own database out of reach; tests have their own, deployments copies of their template."""
    folder = Path(tempfile.mkdtemp(prefix="orderwire-sqlite-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder / "orderwire.sqlite3"
