"""What the project's own files promise: locks that install from anywhere, a Procfile that says how it runs."""

import re

import pytest

from tests.deployment import procfile
from tests.process import ROOT

LOCKS = ["requirements.lock", "requirements-dev.lock"]


def packages(lock: str) -> dict[str, str]:
    """Each requirement's block by `name==version`; what follows says where it is needed, which may differ."""
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return {block.split()[0]: block for block in blocks if "==" in block}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_package_by_hash(lock: str):
    found = packages(lock)
    assert found
    assert [name for name, block in found.items() if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_to_download_from(lock: str):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^--?(index|extra-index|find-links|i\b|f\b)", text, flags=re.MULTILINE)


def test_what_is_tested_is_what_is_deployed():
    assert packages("requirements.lock").keys() <= packages("requirements-dev.lock").keys()


def test_the_procfile_names_every_kind_of_process():
    assert procfile().keys() == {"release", "web", "worker", "beat"}
