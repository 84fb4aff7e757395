"""The engine knows no orders: any Django project can use it, so nothing in it speaks of what this one tells.

Looked at are all files under notifications/, their names included: identifiers, comments, texts, settings, templates.
Not looked at are the migrations, which are history. The product's own name is no word of its trade.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import ROOT

ENGINE = ROOT / "notifications"
#: Words of this product's trade, alone or as parts of longer names.
TRADE = re.compile(
    r"(?:(?<![A-Za-z])|(?=[A-Z]))(?i:orders?|shops?|parcels?|customers?|buyers?|carriers?|shipments?|invoices?)(?![a-z])"
)
#: English and Django's own.
INNOCENT = re.compile(
    r"\border_by\b|\bORDER BY\b|\bin (?:\w+ )?order\b|\b(?:commit|their) order\b|\border of\b", re.IGNORECASE
)
SUFFIXES = {".py", ".js", ".mjs", ".ts", ".json", ".md", ".html", ".css", ".txt", ".toml", ".yaml"}


def told_of_trade(text: str) -> Iterator[str]:
    """The lines that speak of it."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := TRADE.search(INNOCENT.sub("", line)):
            yield f"{number}: {found[0]!r} in {line.strip()}"


def files() -> list[Path]:
    return [path for path in ENGINE.rglob("*") if path.suffix in SUFFIXES and "migrations" not in path.parts]


@pytest.mark.parametrize(
    "text",
    [
        "from orders.models import Order",
        "import orders",
        "def order_numbers(self):",
        "shopName",
        "# the customer's parcel",
        "ORDERS_URL = 1",
        "for each order, in order",
        "lastOrder",
    ],
)
def test_this_check_finds(text: str):
    assert list(told_of_trade(text))


@pytest.mark.parametrize(
    "text",
    [
        "rows.order_by('seq')",
        "SELECT 1 ORDER BY 1",
        "in commit order",
        "Orderwire",
        "in order, once",
        "reorders",
        "ordering",
        "border",
    ],
)
def test_this_check_lets_pass(text: str):
    assert not list(told_of_trade(text))


def test_the_whole_engine_is_looked_at():
    assert {ENGINE / "log" / "stream.py", ENGINE / "apps.py"} <= set(files())


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ENGINE)))
def test_no_file_of_the_engine_speaks_of_orders(path: Path):
    found = [*told_of_trade(path.read_text()), *told_of_trade(str(path.relative_to(ENGINE)))]
    assert not found, "\n".join(found)
