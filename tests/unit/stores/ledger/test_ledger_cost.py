"""Cost arithmetic, exact to the last digit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.stores.ledger.cost import MOST_TOKENS, Tokens, capped, cost
from pixiu_py.stores.ledger.tariff import Tariff

#: 1e-5 for an input token, 3e-5 for an output token.
TARIFF = Tariff(model="m", input_price=Decimal(10), output_price=Decimal(30))


@pytest.mark.parametrize(
    ("tokens", "listed", "charged"),
    [
        (Tokens(), "0", "0"),
        (Tokens(1000, 100), "0.013", "0.013"),
        (Tokens(2000, 500, read=1000, write_1h=500), "0.035", "0.031"),
        (Tokens(1000, 0, read=1000), "0.01", "0.001"),
        (Tokens(1000, 0, write_5m=1000), "0.01", "0.0125"),
        (Tokens(1000, 0, write_1h=1000), "0.01", "0.02"),
        (Tokens(1000, 0, write_24h=1000), "0.01", "0.025"),
        (Tokens(1000, 0, write_5m=100, write_1h=200, write_24h=300, read=400), "0.01", "0.01315"),
        (Tokens(3, 1, read=1), "0.00006", "0.000051"),
        # Counted a little high: the reading gives way, and the writes stay.
        (Tokens(29688, 0, read=29732), "0.29688", "0.029688"),
        (Tokens(1000, 0, read=900, write_5m=200), "0.01", "0.0033"),
        (Tokens(1000, 0, read=800, write_5m=200), "0.01", "0.0033"),
        # The writes alone are too many: the list price, whatever else is said.
        (Tokens(1000, 10, read=500, write_5m=1001), "0.0103", "0.0103"),
        (Tokens(0, 10, read=500), "0.0003", "0.0003"),
    ],
)
def test_list_price_and_charge_are_exact(tokens: Tokens, listed: str, charged: str) -> None:
    assert cost(tokens, TARIFF) == (Decimal(listed), Decimal(charged))


def test_multipliers_are_the_tariffs_own() -> None:
    tariff = Tariff(
        model="m",
        input_price=Decimal("0.075"),
        output_price=None,
        read_multiplier=Decimal("0.0001"),
        write_multiplier_5m=Decimal("1.2345"),
        write_multiplier_1h=Decimal(0),
        write_multiplier_24h=Decimal("99.9999"),
    )
    tokens = Tokens(1111, 5, read=111, write_5m=7, write_1h=11, write_24h=13)
    expected = (969 + Decimal("0.0111") + Decimal("8.6415") + Decimal("1299.9987")) * Decimal("0.000000075")
    assert cost(tokens, tariff) == (Decimal("0.000083325"), expected)


def test_without_a_tariff_or_a_price_there_is_no_cost() -> None:
    """Which is not the same as costing nothing."""
    assert cost(Tokens(1, 1), None) is None
    assert cost(Tokens(1, 1), Tariff(model="m", output_price=Decimal(1))) is None


def test_the_dearest_tariff_has_a_cost() -> None:
    """Its digits are fewer than are computed with; one that was lost would be an error, and so a request without a row."""
    most, factor = Decimal(10**12) - Decimal("1e-12"), Decimal("99.9999")
    tariff = Tariff(
        model="m",
        input_price=most,
        output_price=most,
        read_multiplier=factor,
        write_multiplier_5m=factor,
        write_multiplier_1h=factor,
        write_multiplier_24h=factor,
    )
    found = cost(Tokens(MOST_TOKENS, MOST_TOKENS, write_24h=MOST_TOKENS - 1), tariff)
    assert found is not None
    assert Fraction(found.listed) == 2 * MOST_TOKENS * Fraction(most) / 10**6
    assert Fraction(found.charged) == ((MOST_TOKENS - 1) * Fraction(factor) + 1 + MOST_TOKENS) * Fraction(most) / 10**6


def test_counts_that_nobody_believes_are_cut() -> None:
    assert capped(Tokens(-5, -1, read=-2)) == Tokens()
    assert capped(Tokens(2**70, 1, read=2**71)) == Tokens(MOST_TOKENS, 1, read=MOST_TOKENS)


counts = st.integers(-10, 2**60)
prices = st.decimals(0, 10**6, places=12)
multipliers = st.decimals(0, Decimal("99.9999"), places=4)


@given(st.builds(Tokens, *[counts] * 6))
def test_a_capped_split_fits_and_stays(tokens: Tokens) -> None:
    """Reads and writes fit into the input, nothing is negative, and a split that fits is left alone."""
    fitting = capped(tokens)
    assert min(fitting) >= 0
    assert fitting.read + fitting.written <= fitting.prompt
    assert capped(fitting) == fitting


@given(st.builds(Tokens, *[counts] * 6), prices, prices, st.lists(multipliers, min_size=4, max_size=4))
def test_cost_is_exact(tokens: Tokens, input_price: Decimal, output_price: Decimal, factors: list[Decimal]) -> None:
    """Computed with whole numbers of the smallest unit, it is the same; no digit is lost however large the numbers."""
    tariff = Tariff(
        model="m",
        input_price=input_price,
        output_price=output_price,
        read_multiplier=factors[0],
        write_multiplier_5m=factors[1],
        write_multiplier_1h=factors[2],
        write_multiplier_24h=factors[3],
    )
    fit = capped(tokens)
    whole = [int(factor.scaleb(4)) for factor in factors]
    parts = [10**4, *whole]
    units = [fit.prompt - fit.read - fit.written, fit.read, fit.write_5m, fit.write_1h, fit.write_24h]
    out = fit.completion * int(output_price.scaleb(12)) * 10**4
    charged = sum(part * unit for part, unit in zip(parts, units, strict=True)) * int(input_price.scaleb(12)) + out
    found = cost(tokens, tariff)
    assert found is not None
    assert int(str(charged)) == int(found.charged.as_integer_ratio()[0] * 10**22 // found.charged.as_integer_ratio()[1])
    assert found.charged.as_integer_ratio()[0] * 10**22 % found.charged.as_integer_ratio()[1] == 0
