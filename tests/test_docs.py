"""What the documents point at exists."""

from __future__ import annotations

import re

import pytest

from tests.process import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/client/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: object) -> None:
    path = ROOT / str(document)
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text())
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert not missing


def test_every_guarantee_in_the_readme_names_a_test_that_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| [^|]+ \| \[`(test_\w+)`\]\(([^)]+)\) \|$", readme, re.MULTILINE)
    assert len(rows) > 10
    missing = [name for name, file in rows if f"def {name}(" not in (ROOT / file).read_text()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_exists(document: object) -> None:
    text = (ROOT / str(document)).read_text()
    named = re.findall(r"`((?:api|config|deploy|docs|notifications|orders|tests)/[\w./-]+\.\w+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_cannot_of_the_threat_model_names_a_test_that_exists() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "SECURITY.md").read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| who ")
    ]
    assert len(rows) > 10
    for who, _, cannot in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", cannot)
        assert named or "the same test" in cannot, who
        assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()] == []
