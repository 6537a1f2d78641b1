"""Policies and the figures that they use."""

from __future__ import annotations

from pixiu_py.filters.llm.router.model import RouterConfig
from pixiu_py.filters.llm.router.prices import Rates
from pixiu_py.filters.llm.router.ranking import Ranking
from tests.fakes.exchange import make_context


def test_policies() -> None:
    """The cheapest first; none keeps the declared order although another is cheaper."""
    ranking = Ranking(RouterConfig(), make_context())
    ranking.prices.replace({"big": Rates(5, 15), "small": Rates(0.1, 0.4)})
    assert ranking.order(["big", "new", "small"], "cheapest") == ("small", "big", "new")
    assert ranking.order(["big", "new", "small"], "none") == ("big", "new", "small")
