"""What docs/embedding.md and docs/embed.html tell a shop to do, taken from there: a test runs it as it stands."""

import os
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
#: The address that the documents name, and the one that the test's Orderwire has.
NAMED, SERVED = "orderwire.example", os.environ["ORDERWIRE"]


def page() -> str:
    """The example page."""
    return _addressed((DOCS / "embed.html").read_text())


def python(beginning: str) -> str:
    """The document's block of Python that begins so."""
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "embedding.md").read_text(), re.MULTILINE | re.DOTALL)
    [found] = [block for block in blocks if block.startswith(beginning)]
    return _addressed(found)


def _addressed(text: str) -> str:
    for secure, plain in (("https", "http"), ("wss", "ws")):
        text = text.replace(f"{secure}://{NAMED}", f"{plain}://{SERVED}")
    return text
