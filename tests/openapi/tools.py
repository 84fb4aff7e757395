"""Node's tools that read the OpenAPI document: where they are, and how a test runs them.

`make test` installs them (tests/openapi/package-lock.json). Without npm the tests that ask for them are skipped, except
in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.process import ROOT

HERE = ROOT / "tests" / "openapi"
MODULES = HERE / "node_modules"


def needed() -> None:
    """Skip the test where the tools are not installed; in CI fail it."""
    if shutil.which("node") and MODULES.is_dir():
        return
    missing = "this test needs Node.js, and what npm installs in tests/openapi"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def node(*words: str | Path, folder: Path = HERE) -> str:
    """What a script prints; raises AssertionError, with what it complained of, if it fails."""
    done = subprocess.run(["node", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name: str) -> Path:
    """An installed package's own command."""
    return MODULES / ".bin" / name
