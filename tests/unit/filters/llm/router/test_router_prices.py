"""What is known of a model's price, and by which names it is found."""

from __future__ import annotations

from pixiu_py.filters.llm.router.prices import Prices, Rates


def test_rates_are_found_by_the_full_and_by_the_bare_name() -> None:
    """The full name counts first; a model that is in no list has no price."""
    prices = Prices({"m": Rates(1, 1), "p/m": Rates(2, 2)})
    assert prices.of("p/m") == Rates(2, 2)
    assert prices.of("q/m") == prices.of("m") == Rates(1, 1)
    assert prices.of("other") is None


def test_newer_data_replaces_all() -> None:
    prices = Prices({"old": Rates(1, 1)})
    prices.replace({"new": Rates(2, 2)})
    assert (prices.of("old"), prices.of("new")) == (None, Rates(2, 2))


def test_cached_tokens_have_a_rate_of_their_own_or_a_discount() -> None:
    assert Rates(3.0, 15.0, 0.3).cached(0.5) == 0.3
    assert Rates(3.0, 15.0, 0.0).cached(0.5) == 0.0
    assert Rates(3.0, 15.0).cached(0.5) == 1.5
