"""Models are put in order by what is known of them, and equals stay as they were declared."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.llm.router.prices import Rates
from pixiu_py.filters.llm.router.rank import price, ranked

FIGURES = st.one_of(st.none(), st.just(math.nan), st.floats(0, 10), st.integers(0, 2))


def test_lower_comes_first() -> None:
    figures = {"a": 3.0, "b": 1.0, "c": 2.0}
    assert ranked("abc", figures.get) == ("b", "c", "a")


def test_unknown_comes_last_in_declared_order() -> None:
    """A missing figure is no zero, and one that is not a number is missing."""
    figures = {"b": math.nan, "c": 0.5, "e": 0.0}
    assert ranked("abcde", figures.get) == ("e", "c", "a", "b", "d")


def test_cheapness_is_input_and_output() -> None:
    """Unknown rates have no price."""
    assert price(Rates(1.0, 2.5)) == 3.5
    assert price(None) is None


@given(st.dictionaries(st.sampled_from("abcdef"), FIGURES))
def test_order_is_stable_and_complete(figures: dict[str, float | None]) -> None:
    """Every model is there once; of two with the same figure, or none, the first declared is first."""
    order = ranked("abcdef", figures.get)
    assert sorted(order) == list("abcdef")
    known = [figures.get(model) for model in order]
    keys = [math.inf if figure is None or math.isnan(figure) else figure for figure in known]
    assert keys == sorted(keys)
    for left, right in pairwise(order):
        same = keys[order.index(left)] == keys[order.index(right)]
        assert not same or left < right
