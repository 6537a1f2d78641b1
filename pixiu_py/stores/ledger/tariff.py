"""Tariffs: for which models prompt prefixes are cached, from how many tokens on, and at which prices.

A tariff in the ledger is never changed: to re-price ends one and begins the next, to disable ends one. So what a request
cost can be explained later from the moment at which it was priced.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from pixiu_py.config.types import Model, doc

#: Multipliers are below this and have at most four decimals, prices have twelve digits at most on either side of the point:
#: costs then have no more digits than are computed with, and that a database takes.
_MOST = Decimal(100)
_MOST_PRICE = Decimal(10**12)
_MULTIPLIER_DECIMALS = 4
_PRICE_DECIMALS = 12
_MULTIPLIERS = ("write_multiplier_5m", "write_multiplier_1h", "write_multiplier_24h", "read_multiplier")
_PRICES = ("input_price", "output_price")
#: A model's name of more characters is none.
_LONGEST_MODEL = 256


class Tariff(Model, frozen=True):
    """What one model's cached tokens cost. A model without a tariff is not cached."""

    model: Annotated[str, Meta(min_length=1, max_length=_LONGEST_MODEL, description="The model that is asked.")]
    min_prefix_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1, description="A shorter prefix is not cached.")] = 1024
    write_multiplier_5m: Annotated[Decimal, doc("Of the input price, for tokens written for 5 minutes.")] = Decimal(
        "1.25"
    )
    write_multiplier_1h: Annotated[Decimal, doc("The same for an hour.")] = Decimal("2.0")
    write_multiplier_24h: Annotated[Decimal, doc("The same for a day.")] = Decimal("2.5")
    read_multiplier: Annotated[Decimal, doc("Of the input price, for tokens that were read.")] = Decimal("0.1")
    input_price: Annotated[Decimal | None, doc("Of a million input tokens, in any currency; absent: not priced.")] = (
        None
    )
    output_price: Annotated[
        Decimal | None, doc("Of a million output tokens; absent: 0, where the input has a price.")
    ] = None

    def __post_init__(self) -> None:
        for name in _MULTIPLIERS:
            _check(name, getattr(self, name), _MULTIPLIER_DECIMALS, below=_MOST)
        for name in _PRICES:
            price = getattr(self, name)
            if price is not None:
                _check(name, price, _PRICE_DECIMALS, below=_MOST_PRICE)


class TariffRow(Struct, frozen=True):
    """A tariff, and when it holds: from ``valid_from``, up to and without ``valid_until``; Unix seconds."""

    tariff: Tariff
    valid_from: float = 0.0
    #: None: it has not ended.
    valid_until: float | None = None

    def holds(self, now: float) -> bool:
        """True at ``now``."""
        return self.valid_from <= now and (self.valid_until is None or now < self.valid_until)


def in_force(rows: Iterable[TariffRow], model: str, now: float) -> TariffRow | None:
    """The row that holds for a model at ``now``; of several, which a ledger does not have, the latest."""
    holding = [row for row in rows if row.tariff.model == model and row.holds(now)]
    return max(holding, key=lambda row: row.valid_from, default=None)


def _check(name: str, value: Decimal, decimals: int, below: Decimal) -> None:
    if not value.is_finite() or not 0 <= value < below:
        raise ValueError(f"{name} must be at least 0 and below {below}, not {value}")
    exponent = value.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > decimals:
        raise ValueError(f"{name} may have {decimals} decimals, not {-exponent}")
