"""Amounts of money as they are written: with the decimals of their currency, and never fewer than they have.

A column keeps all amounts with the same number of decimals. `12.345` KWD and `1200` JPY are given back as they came.
The pages' script formats what it gets from here, so this is the one list of currencies.
"""

from __future__ import annotations

from decimal import Decimal

#: Decimals of a currency, where they are not two: ISO 4217, List One, "minor unit".
NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
THREE = "BHD IQD JOD KWD LYD OMR TND"
FOUR = "CLF UYW"
DECIMALS = {code: decimals for codes, decimals in ((NONE, 0), (THREE, 3), (FOUR, 4)) for code in codes.split()}
#: Of all others, and of an amount without a currency.
USUAL_DECIMALS = 2
#: Decimals that the column has: as many as any currency.
MAX_DECIMALS = 4
#: Digits in all. SQLite keeps 15 exactly, since it keeps such columns as floating point numbers.
MAX_DIGITS = 15
#: The largest amount that has those digits.
MAX_AMOUNT = Decimal(10 ** (MAX_DIGITS - MAX_DECIMALS)) - Decimal(1).scaleb(-MAX_DECIMALS)


def written(amount: Decimal, currency: str = "") -> str:
    """`41.80`, `1200`, `12.345`: in digits and a point, without the currency."""
    exponent = amount.normalize().as_tuple().exponent
    has = max(0, -exponent) if isinstance(exponent, int) else 0
    return f"{amount:.{max(has, DECIMALS.get(currency, USUAL_DECIMALS))}f}"
