"""Which tariffs are allowed, and which holds when."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pixiu_py.stores.ledger.tariff import Tariff, TariffRow, in_force


def test_the_defaults_are_those_of_the_field() -> None:
    tariff = Tariff(model="m")
    assert tariff.min_prefix_tokens == 1024
    assert (tariff.write_multiplier_5m, tariff.write_multiplier_1h) == (Decimal("1.25"), Decimal(2))
    assert (tariff.write_multiplier_24h, tariff.read_multiplier) == (Decimal("2.5"), Decimal("0.1"))
    assert tariff.input_price is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("read_multiplier", "-0.1", "read_multiplier must be at least 0 and below 100, not -0.1"),
        ("write_multiplier_5m", "100", "write_multiplier_5m must be at least 0 and below 100, not 100"),
        ("write_multiplier_1h", "1.00001", "write_multiplier_1h may have 4 decimals, not 5"),
        ("write_multiplier_24h", "NaN", "write_multiplier_24h must be at least 0 and below 100, not NaN"),
        ("input_price", "-1", "input_price must be at least 0 and below 1000000000000, not -1"),
        ("input_price", "1E400", r"input_price must be at least 0 and below 1000000000000, not 1E\+400"),
        ("output_price", "Infinity", "output_price must be at least 0 and below 1000000000000, not Infinity"),
        ("output_price", "1e-13", "output_price may have 12 decimals, not 13"),
    ],
)
def test_what_is_no_price_is_refused(key: str, value: str, message: str) -> None:
    changed: dict[str, Any] = {key: Decimal(value)}
    with pytest.raises(ValueError, match=f"^{message}$"):
        Tariff(model="m", **changed)


@pytest.mark.parametrize("value", ["0", "99.9999", "1.50000", "1E1"])
def test_what_is_a_multiplier_is_not(value: str) -> None:
    """Trailing zeros are no decimals."""
    assert Tariff(model="m", read_multiplier=Decimal(value)).read_multiplier == Decimal(value)


def test_a_tariff_holds_from_its_beginning_up_to_its_end() -> None:
    row = TariffRow(Tariff(model="m"), 10.0, 20.0)
    assert [row.holds(now) for now in (9.9, 10.0, 19.9, 20.0)] == [False, True, True, False]
    assert TariffRow(Tariff(model="m"), 10.0).holds(1e12)


def test_the_row_in_force_is_that_of_the_moment_and_of_the_model() -> None:
    first = TariffRow(Tariff(model="m"), 10.0, 20.0)
    second = TariffRow(Tariff(model="m", min_prefix_tokens=1), 20.0)
    other = TariffRow(Tariff(model="other"), 0.0)
    rows = [second, other, first]
    assert [in_force(rows, "m", now) for now in (5.0, 15.0, 20.0, 99.0)] == [None, first, second, second]
    assert in_force(rows, "nothing", 15.0) is None
