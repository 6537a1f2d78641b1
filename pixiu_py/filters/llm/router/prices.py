"""What models cost, as far as it is known. A price that is missing is unknown, not zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens."""

    input: float
    output: float
    #: Of prompt tokens that come from a cache; None: not known.
    cache_read: float | None = None

    def cached(self, discount: float) -> float:
        """The rate of prompt tokens that come from a cache; where it is not known, ``discount`` times the plain one."""
        return self.input * discount if self.cache_read is None else self.cache_read


def price_of(prices: Mapping[str, T], model: str) -> T | None:
    """What stands there for a model by its full name, else by what comes after its first slash; None: nothing."""
    found = prices.get(model)
    return prices.get(model.partition("/")[2]) if found is None else found


class Prices:
    """The latest good data."""

    __slots__ = ("_rates",)

    def __init__(self, rates: Mapping[str, Rates] | None = None) -> None:
        self._rates: Mapping[str, Rates] = rates or {}

    def of(self, model: str) -> Rates | None:
        """The rates of a model; None: unknown."""
        return price_of(self._rates, model)

    def replace(self, rates: Mapping[str, Rates]) -> None:
        """Newer data, all of it."""
        self._rates = rates
